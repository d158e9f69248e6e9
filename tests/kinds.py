"""Drawn adapters of every kind, and what they are in dense float64: the oracle of closed chains."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backends import lora, spline
from backends.chain import Held
from backends.contract import AdapterSpec, Params, Spline

Wide = NDArray[np.float64]
Weights = Mapping[str, NDArray[Any]]
"""Layer path -> W0 [out, in]."""

BENT = Spline()


def drawn(
    weights: Weights, spec: AdapterSpec, seed: int, size: float = 0.1, only: str = ""
) -> Held:
    """Random tensors for every layer whose path holds `only`: factors whose product is about
    `size`, magnitudes within a tenth of the rows' norms, a spline that bends."""
    rng = np.random.default_rng(seed)
    made: Params = {}
    for path, w0 in weights.items():
        if only not in path:
            continue
        out, inputs = w0.shape
        norms = np.linalg.norm(w0.astype(np.float64), axis=1)
        first = lora.initial(spec, path, out, inputs, norms.astype(np.float32))
        first[lora.name_a(path)] = rng.uniform(-1, 1, (spec.rank, inputs)).astype(np.float32)
        b = size * rng.standard_normal((out, spec.rank))
        first[lora.name_b(path)] = b.astype(np.float32)
        if spec.kind == "dora":
            first[lora.name_m(path)] *= rng.uniform(0.9, 1.1, out).astype(np.float32)
        if spec.spline is not None:
            knots = spec.spline.knots
            first[lora.name_v(path)] += 0.3 * rng.standard_normal(knots).astype(np.float32)
            first[lora.name_s(path)] *= np.array([1.1, 0.8], np.float32)
        made |= first
    return spec, made


def rows(weights: Weights, block: int = 4) -> Callable[[str], Iterator[NDArray[Any]]]:
    """W0 by blocks of rows, as the files give it."""

    def of(path: str) -> Iterator[NDArray[Any]]:
        w0 = weights[path]
        yield from (w0[first : first + block] for first in range(0, len(w0), block))

    return of


def dense(path: str, w0: NDArray[Any], adapters: Sequence[Held]) -> Wide:
    """c W0 + B A, by the full matrices; branches left out."""
    whole = w0.astype(np.float64)
    for spec, tensors in adapters:
        if lora.name_a(path) not in tensors or spec.spline is not None:
            continue
        a, b = (tensors[name(path)].astype(np.float64) for name in (lora.name_a, lora.name_b))
        whole = whole + spec.scale * b @ a
        if spec.kind == "dora":
            norms = np.linalg.norm(whole, axis=1)
            whole = (tensors[lora.name_m(path)] / norms)[:, None] * whole
    return whole


def forward(path: str, w0: NDArray[Any], adapters: Sequence[Held], x: Wide) -> Wide:
    """What a layer without a bias gives for x [tokens, in]."""
    y = x @ dense(path, w0, adapters).T
    for spec, tensors in adapters:
        if spec.spline is None or lora.name_a(path) not in tensors:
            continue
        a, b = (tensors[name(path)].astype(np.float64) for name in (lora.name_a, lora.name_b))
        before, after = tensors[lora.name_s(path)].astype(np.float64)
        z = spec.scale * (x @ a.T) @ b.T
        y = y + after * spline.phi(before * z, tensors[lora.name_v(path)], spec.spline)
    return np.asarray(y)

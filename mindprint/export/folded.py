"""Several adapters as one: exactly, by concatenating their factors, or to a smaller rank."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from backends.contract import AdapterSpec, Params
from backends.lora import name_a, name_b, paths_of
from mindprint.errors import ConfigError

Held = tuple[AdapterSpec, Params]
"""An adapter as its files have it: spec, and tensors by contract name."""
Factors = tuple[NDArray[np.float32], NDArray[np.float32]]


@dataclass(frozen=True)
class Folded:
    """One adapter that acts as several did. `error`: norm of what was cut off over the norm of
    the whole change, all layers together; 0 where nothing was."""

    spec: AdapterSpec
    tensors: Params
    error: float = 0.0


def concatenated(adapters: Sequence[Held], signs: Sequence[float] | None = None) -> Folded:
    """The sum of the adapters' changes, exactly: A stacked, B side by side with each scale in it.

    `signs`: a factor for each, -1 takes a change away again. Layers that some adapters leave alone
    are padded with zeros to the one rank that PEFT's and mlx-lm's files have. Raises ConfigError
    when there is no adapter.
    """
    if not adapters:
        raise ConfigError("nothing is accepted that could be written", where="ledger.json")
    signed = list(zip(adapters, signs or [1.0] * len(adapters), strict=True))
    paths = dict.fromkeys(path for _, tensors in adapters for path in paths_of(tensors))
    factors = {path: _stacked(path, signed) for path in paths}
    rank = max(a.shape[0] for a, _ in factors.values())
    tensors: Params = {}
    for path, (a, b) in factors.items():
        short = rank - a.shape[0]
        tensors[name_a(path)] = np.pad(a, ((0, short), (0, 0)))
        tensors[name_b(path)] = np.pad(b, ((0, 0), (0, short)))
    return Folded(_spec(rank), tensors)


def reduced(whole: Folded, rank: int) -> Folded:
    """The nearest adapter of `rank` (Eckart & Young 1936), by the singular values of each layer's
    change; worked out in float64 on the factors, never on the full matrix."""
    return whole if rank >= whole.spec.rank else _by_values(whole, rank)


def recast(whole: Folded) -> Folded:
    """The same change, to float32's rounding, in factors of its own: the singular vectors of each
    layer's. What it was put together from can no longer be cut out of its tensors."""
    return _by_values(whole, whole.spec.rank)


def _by_values(whole: Folded, rank: int) -> Folded:
    tensors: Params = {}
    cut = total = 0.0
    for path in paths_of(whole.tensors):
        scaled = whole.tensors[name_b(path)].astype(np.float64) * whole.spec.scale
        a, b, values = _truncated(whole.tensors[name_a(path)], scaled, rank)
        tensors[name_a(path)], tensors[name_b(path)] = a, b
        cut += float(np.square(values[rank:]).sum())
        total += float(np.square(values).sum())
    return Folded(_spec(rank), tensors, (cut / total) ** 0.5 if total else 0.0)


def norm(whole: Folded) -> float:
    """Frobenius norm of all that the adapter adds to the weights, in float64: the factors' small
    Gram matrices suffice."""
    total = 0.0
    for path in paths_of(whole.tensors):
        a = whole.tensors[name_a(path)].astype(np.float64)
        b = whole.tensors[name_b(path)].astype(np.float64)
        total += float(np.square(_core(a, b)).sum())
    return math.sqrt(total) * whole.spec.scale


def _stacked(path: str, adapters: Sequence[tuple[Held, float]]) -> Factors:
    held = [(spec, tensors, sign) for (spec, tensors), sign in adapters if name_a(path) in tensors]
    a = np.concatenate([tensors[name_a(path)] for _, tensors, _ in held], axis=0)
    b = np.concatenate(
        [tensors[name_b(path)] * np.float32(spec.scale * sign) for spec, tensors, sign in held],
        axis=1,
    )
    return a, b


def _core(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    """A small matrix with the singular values of B A."""
    _, right_b = np.linalg.qr(b)
    _, right_a = np.linalg.qr(a.T)
    return np.asarray(right_b @ right_a.T)


def _truncated(
    a: NDArray[np.float32], b: NDArray[np.float64], rank: int
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float64]]:
    """A [rank, in], B [out, rank] and all singular values of B A."""
    left, right_b = np.linalg.qr(b)
    right, right_a = np.linalg.qr(a.T.astype(np.float64))
    u, values, v = np.linalg.svd(right_b @ right_a.T)
    kept = min(rank, len(values))
    root = np.sqrt(values[:kept])
    made_b = np.pad((left @ u[:, :kept]) * root, ((0, 0), (0, rank - kept)))
    made_a = np.pad(root[:, None] * (v[:kept] @ right.T), ((0, rank - kept), (0, 0)))
    return made_a.astype(np.float32), made_b.astype(np.float32), values


def _spec(rank: int) -> AdapterSpec:
    """Scale 1: what the adapters were scaled by is in their B."""
    return AdapterSpec(rank=rank, alpha=float(rank), dropout=0.0)

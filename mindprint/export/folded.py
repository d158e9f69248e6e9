"""Several adapters as one: exactly, by concatenating their factors, or to a smaller rank."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from backends.chain import Chain, Held, Layer, Rows, Wide, directions, straight
from backends.contract import AdapterSpec, Params
from backends.lora import name_a, name_b, name_m, paths_of
from mindprint.errors import ConfigError

Factors = tuple[NDArray[np.float32], NDArray[np.float32]]


@dataclass(frozen=True)
class Folded:
    """What several adapters do to the weights, c W0 + factor B A in every layer. `c`: float64 [out]
    of the layers whose weight is scaled, as under a DoRA; none where nothing is. `error`: norm of
    what was cut off over the norm of the whole change, all layers together; 0 where nothing was.
    `size`: that norm, where W0 has a part in it."""

    spec: AdapterSpec
    tensors: Params
    error: float = 0.0
    c: Mapping[str, Wide] = field(default_factory=dict)
    size: float | None = None


def folded(adapters: Sequence[Held], rows: Rows) -> Folded:
    """All that the adapters do, as they stand over the rows of the base's weights, which are read
    where one of them is a DoRA; an LS-LoRA counts as the LoRA that it is.

    Raises ConfigError when there is no adapter, or a spline bends.
    """
    plain = [_straight(one) for one in adapters]
    if all(spec.kind == "lora" for spec, _ in plain):
        return concatenated(plain)
    factors: dict[str, Factors] = {}
    scaled: dict[str, Wide] = {}
    size = 0.0
    for path in dict.fromkeys(path for _, tensors in plain for path in paths_of(tensors)):
        layer = Layer.of(path, plain, rows)
        chain = layer.closed(plain)
        factors[path] = chain.a.astype(np.float32), chain.b.astype(np.float32)
        if chain.c is not None:
            scaled[path] = chain.c
        size += layer.square([(chain, 1.0), (layer.closed(()), -1.0)])
    spec, tensors = _padded(factors)
    return Folded(spec, tensors, c=scaled, size=math.sqrt(size))


def as_adapter(whole: Folded, rows: Rows) -> Held:
    """The one adapter that does the same over the base: a LoRA, or a DoRA where a weight is scaled.
    Raises AdapterError where a weight is scaled by 0."""
    if not whole.c:
        return whole.spec, whole.tensors
    factors: dict[str, Factors] = {}
    magnitudes: Params = {}
    for path in paths_of(whole.tensors):
        a, b = (whole.tensors[name(path)].astype(np.float64) for name in (name_a, name_b))
        layer = Layer.seeing(path, directions([a]), rows)
        inside = whole.spec.scale * b @ (a @ layer.a.T)
        made, m = layer.as_dora(Chain(whole.c.get(path), layer.a, inside))
        factors[path] = layer.a.astype(np.float32), made.astype(np.float32)
        magnitudes[name_m(path)] = m.astype(np.float32)
    spec, tensors = _padded(factors)
    return replace(spec, kind="dora"), tensors | magnitudes


def concatenated(adapters: Sequence[Held], signs: Sequence[float] | None = None) -> Folded:
    """The sum of the changes of LoRA adapters, exactly: A stacked, B side by side with each scale
    in it.

    `signs`: a factor for each, -1 takes a change away again. Layers that some adapters leave alone
    are padded with zeros to the one rank that PEFT's and mlx-lm's files have. Raises ConfigError
    when there is no adapter.
    """
    if not adapters:
        raise ConfigError("nothing is accepted that could be written", where="ledger.json")
    signed = list(zip(adapters, signs or [1.0] * len(adapters), strict=True))
    paths = dict.fromkeys(path for _, tensors in adapters for path in paths_of(tensors))
    return Folded(*_padded({path: _stacked(path, signed) for path in paths}))


def reduced(whole: Folded, rank: int) -> Folded:
    """The nearest of `rank` (Eckart & Young 1936), by the singular values of what each layer adds;
    worked out in float64 on the factors, never on the full matrix. What scales a weight stays."""
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
        a, b, values = truncated(whole.tensors[name_a(path)], scaled, rank)
        tensors[name_a(path)], tensors[name_b(path)] = a, b
        cut += float(np.square(values[rank:]).sum())
        total += float(np.square(values).sum())
    size = math.sqrt(total) if whole.size is None else whole.size
    error = math.sqrt(cut) / size if size else 0.0
    return replace(whole, spec=_spec(rank), tensors=tensors, error=error)


def norm(whole: Folded) -> float:
    """Frobenius norm of all that is added to the weights, in float64: the factors' small Gram
    matrices suffice."""
    if whole.size is not None:
        return whole.size
    total = 0.0
    for path in paths_of(whole.tensors):
        a = whole.tensors[name_a(path)].astype(np.float64)
        b = whole.tensors[name_b(path)].astype(np.float64)
        total += float(np.square(_core(a, b)).sum())
    return math.sqrt(total) * whole.spec.scale


def _straight(held: Held) -> Held:
    found = straight(held)
    if found is None:
        raise ConfigError(
            "no weights can hold an LS-LoRA whose spline bends",
            where="ledger.json",
            hint="`mindprint export --least-squares` puts a line in the place of each spline",
        )
    return found


def _padded(factors: Mapping[str, Factors]) -> Held:
    """Factors of scale 1 in one rank."""
    rank = max(1, *(len(a) for a, _ in factors.values()))
    tensors: Params = {}
    for path, (a, b) in factors.items():
        short = rank - len(a)
        tensors[name_a(path)] = np.pad(a, ((0, short), (0, 0)))
        tensors[name_b(path)] = np.pad(b, ((0, 0), (0, short)))
    return _spec(rank), tensors


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


def truncated(
    a: NDArray[np.floating], b: Wide, rank: int
) -> tuple[NDArray[np.float32], NDArray[np.float32], Wide]:
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

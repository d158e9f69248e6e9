"""Folding adapters into the base weights: rebuilt from the file, rounded once, measured."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass

from backends.contract import MergeReport
from backends.errors import MergeRefused
from backends.merging import ratio, refusal
from backends.mlx.attached import Pair
from backends.mlx.framework import mx, nn, number
from backends.mlx.model import Decoder
from backends.sampling import probe_rows

Everything = Callable[[bool], AbstractContextManager[None]]
"""Inside, all that is attached acts with float32 factors, or nothing does."""


@dataclass(frozen=True)
class Change:
    """One layer's merge: what its weight already holds, and what is to be folded in now; float32,
    the scale folded into B."""

    path: str
    linear: nn.Linear
    earlier: list[Pair]
    now: list[Pair]


def fold(
    decoder: Decoder, changes: list[Change], bound: float, everything: Everything
) -> MergeReport:
    """Merge into every changed weight, or raise MergeRefused with the weights as they were.

    All three sets of logits (base, exact, merged) are computed in float32 arithmetic over the
    weights as stored: in bfloat16 the rounding of activations, about 1e-2, would hide what the
    rounding of the weights loses.
    """
    ids = mx.array(probe_rows(decoder.net.model.embed_tokens.weight.shape[0]))
    with everything(True):
        exact = _logits(decoder, ids)
    with everything(False):
        base = _logits(decoder, ids)
    before = [change.linear.weight for change in changes]
    dtype = str(decoder.dtype).removeprefix("mlx.core.")
    try:
        squares = [_rewrite(decoder, change) for change in changes]
        with everything(False):
            merged = _logits(decoder, ids)
        lost = ratio(_norm(merged - exact), _norm(exact - base))
        error, delta = (sum(column) ** 0.5 for column in zip(*squares, strict=True))
        if not lost <= bound:  # also when it is not a number
            raise refusal(lost, ratio(error, delta), bound, dtype)
    except BaseException:
        for change, weight in zip(changes, before, strict=True):
            change.linear.weight = weight
        raise
    return MergeReport(lost, ratio(error, delta), ids.size, len(changes), dtype)


def _logits(decoder: Decoder, ids: mx.array) -> mx.array:
    logits = decoder.logits(ids, exact=True)
    mx.eval(logits)
    return logits


def _rewrite(decoder: Decoder, change: Change) -> tuple[float, float]:
    """Assign pristine + every delta, summed in float32 on the CPU and rounded once to the
    weights' precision; squared norms of the rounding error and of the new delta."""
    linear = change.linear
    held = linear.weight
    pristine = decoder.pristine(change.path).astype(mx.float32, stream=mx.cpu)
    earlier = _sum(pristine, change.earlier)
    if not mx.array_equal(earlier.astype(held.dtype, stream=mx.cpu), held, stream=mx.cpu).item():
        raise MergeRefused(
            f"the weight of `{change.path}` is not what its file and the merges so far make it",
            hint="open the model afresh",
        )
    whole = _sum(earlier, change.now)
    linear.weight = whole.astype(held.dtype, stream=mx.cpu)
    new = _sum(mx.zeros_like(whole, stream=mx.cpu), change.now)
    # The difference of near weights is exact, so this is the rounding's error to float32.
    moved = mx.subtract(linear.weight.astype(mx.float32), held.astype(mx.float32), stream=mx.cpu)
    error = mx.subtract(moved, new, stream=mx.cpu)
    squares = mx.square(error).sum(), mx.square(new).sum()
    mx.eval(linear.weight, *squares)
    return number(squares[0]), number(squares[1])


def _sum(start: mx.array, pairs: list[Pair]) -> mx.array:
    """Float32 [out, in]: `start` plus every B A, on the CPU."""
    for a, b in pairs:
        start = mx.add(start, mx.matmul(b, a, stream=mx.cpu), stream=mx.cpu)
    return start


def _norm(x: mx.array) -> float:
    return number(mx.sqrt(mx.square(x).sum()))

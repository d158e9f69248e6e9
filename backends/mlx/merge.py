"""Folding adapters into the base weights: rebuilt from the file, rounded once, measured."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass

from backends import merging
from backends.contract import MergeReport
from backends.errors import MergeRefused
from backends.merging import ratio, refusal
from backends.mlx import base_weight
from backends.mlx.chain import Entry
from backends.mlx.dora import stretch
from backends.mlx.framework import mx, nn, number
from backends.mlx.model import Decoder
from backends.sampling import probe_rows

Everything = Callable[[bool], AbstractContextManager[None]]
"""Inside, all that is attached acts with float32 factors, or nothing does."""


@dataclass(frozen=True)
class Change:
    """One layer's merge: what its weight already holds, merge by merge, and what is to be folded in
    now; float32."""

    path: str
    linear: nn.Module
    earlier: list[list[Entry]]
    now: list[Entry]

    def check(self) -> None:
        """Raises MergeRefused where no weight can hold what is to be folded in."""
        if base_weight.quantized(self.linear):
            raise merging.packed(self.path)
        if any(_slope(entry) is None for entry in self.now):
            raise merging.bent(self.path)


def fold(
    decoder: Decoder, changes: list[Change], bound: float, everything: Everything
) -> MergeReport:
    """Merge into every changed weight, or raise MergeRefused with the weights as they were.

    All three sets of logits (base, exact, merged) are computed in float32 arithmetic over the
    weights as stored: in bfloat16 the rounding of activations, about 1e-2, would hide what the
    rounding of the weights loses.
    """
    for change in changes:
        change.check()
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
    with mx.stream(mx.cpu):
        earlier = decoder.pristine(change.path).astype(mx.float32)
        for entries in change.earlier:
            earlier = _folded(earlier, entries)
        if not mx.array_equal(earlier.astype(held.dtype), held).item():
            raise MergeRefused(
                f"the weight of `{change.path}` is not what its file and the merges so far make it",
                hint="open the model afresh",
            )
        linear.weight = _folded(earlier, change.now).astype(held.dtype)
        new = _delta(earlier, change.now)
        # The difference of near weights is exact, so this is the rounding's error to float32.
        error = (linear.weight.astype(mx.float32) - held.astype(mx.float32)) - new
        squares = mx.square(error).sum(), mx.square(new).sum()
        mx.eval(linear.weight, *squares)
    return number(squares[0]), number(squares[1])


def _folded(weight: mx.array, entries: list[Entry]) -> mx.array:
    """Float32 [out, in]: c W0 + B A of the chain of `entries` over `weight`, row by row as DoRA's
    magnitudes say; branches come last, outside any norm."""
    for entry in _in_order(entries):
        weight = weight + _product(entry)
        if entry.magnitudes is not None:
            weight = _gain(entry.magnitudes, weight) * weight
    return weight


def _delta(weight: mx.array, entries: list[Entry]) -> mx.array:
    """`_folded` less `weight`, without their difference's rounding."""
    delta = mx.zeros_like(weight)
    for entry in _in_order(entries):
        delta = delta + _product(entry)
        if entry.magnitudes is not None:
            gain = _gain(entry.magnitudes, weight + delta)
            delta = gain * delta + (gain - 1.0) * weight
    return delta


def _in_order(entries: list[Entry]) -> list[Entry]:
    return sorted(entries, key=lambda entry: entry.curve is not None)  # keeps each kind's order


def _product(entry: Entry) -> mx.array:
    """What the entry adds, [out, in]; of an LS-LoRA, with its one slope in B."""
    slope = _slope(entry)
    if slope is None:
        raise ValueError("an entry that bends was not refused")
    return (entry.b if slope == 1.0 else slope * entry.b) @ entry.a


def _slope(entry: Entry) -> float | None:
    return 1.0 if entry.curve is None else entry.curve.slope()


def _gain(magnitudes: mx.array, weight: mx.array) -> mx.array:
    """[out, 1]: what brings the rows of `weight` to these norms."""
    return stretch(magnitudes, mx.sqrt(mx.square(weight).sum(axis=1)))[:, None]


def _norm(x: mx.array) -> float:
    return number(mx.sqrt(mx.square(x).sum()))

"""Log-probabilities of given tokens and their slopes, block by block of the vocabulary.

With the head frozen, what reaches the states of token t from above is one number a token, so the
forward pass can leave the slope d log p(t) / d state beside log p(t) and no logits are kept or
computed again. Over the other tokens, with q the probability of any of them and mean their average
head row weighted by probability:

    log p(t) = -softplus(logsumexp of the others - logit of t)
    slope = q (W[t] - mean)

Leaving t out of the sums keeps both exact where p(t) is near 1. Blocks go through running sums, so
a few megabytes of logits exist at a time, whatever the vocabulary, and each is exponentiated once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from backends.mlx.base_weight import quantized, rows_of, sizes
from backends.mlx.exponential import LOG2E, exp2
from backends.mlx.framework import mx

BLOCK_BYTES = 8 << 20
"""Float32 logits in one block. Larger ones are slower on a CPU: from 32 MB on the C library maps
and clears fresh pages for each."""
ROWS = 512
"""Positions in one block: more make a product no faster."""


@dataclass(frozen=True)
class Head:
    """`weight` [vocabulary, hidden], or the packed layer that stands for it, and the bound of the
    logits, if there is one."""

    weight: Any
    softcap: float | None = None

    @property
    def packed(self) -> bool:
        return quantized(self.weight)

    @property
    def shape(self) -> tuple[int, int]:
        """(vocabulary, hidden)."""
        rows, width = sizes(self.weight) if self.packed else self.weight.shape
        return rows, width

    def rows(self, rows: slice | mx.array, dtype: mx.Dtype) -> mx.array:
        """Some rows; of a packed head these alone are unpacked, in `dtype`."""
        if self.packed:
            return rows_of(self.weight, rows).astype(dtype)
        held: mx.array = self.weight[rows]
        return held


@dataclass
class _Sums:
    """Over the other tokens seen so far, per position: `top` of the logits in base 2, `total` of
    2^(logit - top), and `lean` [hidden, n], the same sum over head rows."""

    top: mx.array
    total: mx.array
    lean: mx.array | None

    @classmethod
    def nothing(cls, count: int, hidden: int | None) -> _Sums:
        """`hidden` None: no lean. The least float32 for the top: infinity less itself is no
        number."""
        top = mx.full((count,), mx.finfo(mx.float32).min)
        lean = None if hidden is None else mx.zeros((hidden, count))
        return cls(top, mx.zeros((count,)), lean)

    def held(self) -> list[mx.array]:
        return [self.total] if self.lean is None else [self.total, self.lean]


def token_logprobs(head: Head, states: mx.array, targets: mx.array) -> mx.array:
    """Float32 [n]: log p(targets [n]) after `states` [n, hidden]; differentiable in the states."""
    frozen = mx.stop_gradient(states)
    parts: list[mx.array] = []
    slopes: list[mx.array] = []
    for start in range(0, len(targets), ROWS):
        rows = slice(start, start + ROWS)
        after = slopes[-1:]  # one block after another, not all at once
        part, slope = _part(head, _behind(frozen[rows], after), targets[rows], slopes=True)
        parts.append(part)
        slopes.append(slope)
    values, slope = mx.concatenate(parts), mx.concatenate(slopes)
    # Adds zero; its gradient is the slope.
    return values + (slope * (states - frozen).astype(mx.float32)).sum(axis=-1)


def plain_logprobs(head: Head, states: mx.array, targets: mx.array) -> mx.array:
    """The same without slopes, evaluated."""
    parts = []
    for start in range(0, len(targets), ROWS):
        rows = slice(start, start + ROWS)
        parts.append(_part(head, states[rows], targets[rows], slopes=False)[0])
        mx.eval(parts[-1])
    return mx.concatenate(parts)


def _part(
    head: Head, states: mx.array, targets: mx.array, *, slopes: bool
) -> tuple[mx.array, mx.array]:
    """Log-probabilities [n] and slopes [n, hidden], both float32."""
    vocabulary, hidden = head.shape
    count = len(targets)
    own = head.rows(targets, mx.float32).astype(mx.float32)
    logit, bend = _bounded((own * states.astype(mx.float32)).sum(axis=-1), head.softcap)
    sums = _Sums.nothing(count, hidden if slopes else None)
    step = max(2, BLOCK_BYTES // (4 * count))
    for start in range(0, vocabulary, step):
        sums = _add(sums, head, states, targets, range(start, min(start + step, vocabulary)))
    gap = (sums.top - logit) / LOG2E + mx.log(sums.total)
    logprobs = -mx.logaddexp(mx.zeros_like(gap), gap)
    if sums.lean is None:
        return logprobs, mx.zeros((count, 0))
    own = own if bend is None else own * bend[:, None]
    return logprobs, mx.sigmoid(gap)[:, None] * (own - (sums.lean / sums.total).T)


def _logits(head: Head, weight: mx.array, states: mx.array) -> tuple[mx.array, mx.array | None]:
    """Base-2 logits float32 [block, n] and, with a bound, how much of a change gets through it."""
    if head.softcap is None and states.dtype == mx.float32:
        return weight @ (states * LOG2E).T, None  # few states, many logits
    return _bounded((weight @ states.T).astype(mx.float32), head.softcap)


def _bounded(logits: mx.array, softcap: float | None) -> tuple[mx.array, mx.array | None]:
    if softcap is None:
        return logits * LOG2E, None
    bound = mx.tanh(logits / softcap)
    return bound * (softcap * LOG2E), 1.0 - mx.square(bound)


def _without(logits: mx.array, rows: mx.array) -> mx.array:
    """Logits [block, n] with minus infinity at row `rows[i]` of column i, where that is inside."""
    size = len(logits)
    at = mx.clip(rows, 0, size - 1)[None]
    outside = ((rows < 0) | (rows >= size))[None]
    kept = mx.where(outside, mx.take_along_axis(logits, at, axis=0), -mx.inf)
    return mx.put_along_axis(logits, at, kept, axis=0)


def _behind(array: mx.array, done: list[mx.array]) -> mx.array:
    """`array`, computed after `done`: MLX would start every block before it finished one."""
    if not done:
        return array
    after: list[mx.array] = mx.depends([array], done)
    return after[0]


def _add(sums: _Sums, head: Head, states: mx.array, targets: mx.array, block: range) -> _Sums:
    """The sums with one more block of the vocabulary."""
    weight = head.rows(slice(block.start, block.stop), states.dtype)
    states = _behind(states, sums.held())
    # Head rows by positions: the faster way round on a CPU, and its sums go down columns.
    logits, bend = _logits(head, weight, states)
    logits = _without(logits, targets - block.start)
    top = mx.maximum(logits.max(axis=0), sums.top)
    raised = exp2(logits - top)
    shrunk = exp2(sums.top - top)
    total = raised.sum(axis=0) + sums.total * shrunk
    lean = None
    if sums.lean is not None:
        bent = raised if bend is None else raised * bend
        lean = (weight.T @ bent.astype(weight.dtype)).astype(mx.float32)
        lean = lean + sums.lean * shrunk
    return _Sums(top, total, lean)

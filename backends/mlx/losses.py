"""Log-probabilities of the masked tokens, and the objectives over them, in float32."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from backends.contract import Batch, Objective, StepStats, Window
from backends.mlx.framework import mx, number
from backends.mlx.model import Decoder

HEAD_BYTES = 256 << 20
"""Float32 logits held at once; more positions than fit are done in chunks."""


@dataclass(frozen=True)
class Rows:
    """A batch on the device.

    `ids` int32 [rows, width]; `before` and `targets` int32 [n], the flat position before each
    masked token and the token; `gather` int32 [rows, most], which of the n belong to each row,
    with n itself where a row has fewer.
    """

    ids: mx.array
    before: mx.array
    targets: mx.array
    gather: mx.array
    place: NDArray[np.intp]

    @classmethod
    def of(cls, batch: Batch) -> Rows:
        place = np.flatnonzero(batch.mask)
        counts = batch.mask.sum(axis=1)
        steps = np.arange(counts.max())
        starts = np.cumsum(counts) - counts
        gather = np.where(steps < counts[:, None], starts[:, None] + steps, len(place))
        return cls(
            ids=mx.array(batch.ids),
            before=mx.array((place - 1).astype(np.int32)),
            targets=mx.array(batch.ids.reshape(-1)[place].astype(np.int32)),
            gather=mx.array(gather.astype(np.int32)),
            place=place,
        )


def token_logprobs(decoder: Decoder, rows: Rows, *, gradients: bool = False) -> mx.array:
    """Float32 [n]: log p(token | tokens before it) of the masked tokens, in row-major order.

    Only the positions before them reach the head. With `gradients` the logits of a chunk are
    computed again on the way back, so that those of one chunk at a time are alive.
    """
    width = rows.ids.shape[1]
    states = decoder.hidden(rows.ids, decoder.causal_masks(width))
    states = states.reshape(-1, states.shape[-1])[rows.before]

    def part(targets: mx.array, states: mx.array) -> mx.array:
        logits = decoder.head(states)
        chosen = mx.take_along_axis(logits, targets[:, None], axis=-1).squeeze(-1)
        return chosen - mx.logsumexp(logits, axis=-1)

    vocabulary = decoder.net.model.embed_tokens.weight.shape[0]
    step = max(1, HEAD_BYTES // (4 * vocabulary))
    count = states.shape[0]
    if count <= step:
        return part(rows.targets, states)
    parts = []
    for start in range(0, count, step):
        chunk = functools.partial(part, rows.targets[start : start + step])
        # Targets are bound: what a checkpoint is called with must have a gradient.
        run: Callable[[mx.array], mx.array] = mx.checkpoint(chunk) if gradients else chunk
        parts.append(run(states[start : start + step]))
        if not gradients:
            mx.eval(parts[-1])
    return mx.concatenate(parts)


def row_sums(tokens: mx.array, rows: Rows) -> mx.array:
    """Float32 [rows]. Gathered, then summed: adding by index is unordered on a GPU."""
    padded = mx.concatenate([tokens, mx.zeros((1,))])
    return padded[rows.gather].sum(axis=1)


def batch_loss(
    decoder: Decoder, objective: Objective, batch: Batch, window: Window, rows: Rows
) -> tuple[mx.array, mx.array]:
    """This batch's share of the window's loss (a scalar), and figures for `stats`."""
    tokens = token_logprobs(decoder, rows, gradients=True)
    if objective.kind == "sft":
        return -tokens.sum() / window.tokens, mx.zeros((3,))
    return _preference(objective, row_sums(tokens, rows), batch, window)


def _preference(
    objective: Objective, logprobs: mx.array, batch: Batch, window: Window
) -> tuple[mx.array, mx.array]:
    if not batch.pairs or batch.reference is None:
        raise ValueError("DPO needs a batch of pairs with the reference's log-probabilities")
    pairs = len(batch.ids) // 2
    ratio = logprobs - mx.array(batch.reference)
    margin = objective.beta * (ratio[:pairs] - ratio[pairs:])
    trained = mx.array(batch.mask.sum(axis=1).astype(np.float32))
    loss = _pair_losses(objective, ratio, trained, pairs).sum() / window.pairs
    if objective.sft_weight:
        loss = loss - objective.sft_weight * logprobs[:pairs].sum() / window.tokens
    figures = mx.stack([margin.sum(), (margin > 0).sum().astype(mx.float32), ratio[:pairs].sum()])
    return loss, mx.stop_gradient(figures)


def _pair_losses(objective: Objective, ratio: mx.array, trained: mx.array, pairs: int) -> mx.array:
    """Float32 [pairs]; the formulas are those named in contract.Objective."""
    if objective.loss == "length-normalised":
        ratio = ratio / trained
    gap = ratio[:pairs] - ratio[pairs:]
    if objective.loss == "ipo":
        return mx.square(gap - 1.0 / (2.0 * objective.beta))
    if objective.loss == "hinge":
        return mx.maximum(1.0 - objective.beta * gap, 0.0)
    # logaddexp(0, -x) is -log sigmoid(x); a further minus would train the rejected answer.
    return mx.logaddexp(mx.zeros_like(gap), -objective.beta * gap)


def stats(batch: Batch, loss: mx.array, figures: mx.array) -> StepStats:
    """What is reported of one batch."""
    margin, wins, ratio = np.array(figures).tolist()
    pairs = len(batch.ids) // 2 if batch.pairs else 0
    return StepStats(
        loss=number(loss),
        rows=len(batch.ids),
        tokens=int(batch.mask.sum()),
        pairs=pairs,
        margin=margin,
        wins=int(wins),
        chosen_logratio=ratio,
        chosen_tokens=int(batch.mask[:pairs].sum()) if pairs else 0,
    )

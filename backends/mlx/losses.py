"""Log-probabilities of the masked tokens, and the objectives over them, in float32."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from backends import lora, spline
from backends.contract import AdapterSpec, Batch, Objective, StepStats, Window
from backends.mlx import head
from backends.mlx.framework import mx, number
from backends.mlx.model import Decoder
from backends.mlx.states import Work, trained_states, work_of


@dataclass(frozen=True)
class Rows:
    """A batch on the device.

    `work` is what goes through the layers; `targets` int32 [n], the masked tokens in row-major
    order; `gather` int32 [rows, most], which of the n belong to each row, with n itself where a row
    has fewer. `place` [n]: their flat positions in the batch.
    """

    work: Work
    targets: mx.array
    gather: mx.array
    place: NDArray[np.intp]

    @classmethod
    def of(cls, batch: Batch, window: int | None, *, apart: bool = False) -> Rows:
        """`window`: of the model's sliding layers. `apart`: no prompt is shared."""
        place = np.flatnonzero(batch.mask)
        counts = batch.mask.sum(axis=1)
        steps = np.arange(counts.max())
        starts = np.cumsum(counts) - counts
        gather = np.where(steps < counts[:, None], starts[:, None] + steps, len(place))
        return cls(
            work=work_of(batch, window, apart=apart),
            targets=mx.array(batch.ids.reshape(-1)[place].astype(np.int32)),
            gather=mx.array(gather.astype(np.int32)),
            place=place,
        )


def token_logprobs(
    decoder: Decoder, rows: Rows, *, gradients: bool = False, checkpointing: bool = False
) -> mx.array:
    """Float32 [n]: log p(token | tokens before it) of the masked tokens, in row-major order.

    Only the positions before them reach the head. Without `gradients` they are evaluated.
    """
    states = trained_states(decoder, rows.work, checkpointing=checkpointing)
    if gradients:
        return head.token_logprobs(decoder.output, states, rows.targets)
    return head.plain_logprobs(decoder.output, states, rows.targets)


def row_sums(tokens: mx.array, rows: Rows) -> mx.array:
    """Float32 [rows]. Gathered, then summed: adding by index is unordered on a GPU."""
    padded = mx.concatenate([tokens, mx.zeros((1,))])
    return padded[rows.gather].sum(axis=1)


def batch_loss(
    decoder: Decoder,
    objective: Objective,
    batch: Batch,
    window: Window,
    rows: Rows,
    *,
    checkpointing: bool = False,
) -> tuple[mx.array, mx.array]:
    """This batch's share of the window's loss (a scalar), and figures for `stats`."""
    tokens = token_logprobs(decoder, rows, gradients=True, checkpointing=checkpointing)
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


def identity_penalty(arrays: Mapping[str, mx.array], spec: AdapterSpec, share: float) -> mx.array:
    """What keeps an LS-LoRA's splines near the identity, a scalar: their penalty on the mean of
    (v - k)^2 over all layers and knots, times the batch's share of its window; else 0."""
    if spec.spline is None:
        return mx.zeros(())
    values = [array for name, array in arrays.items() if name.endswith(lora.name_v(""))]
    moved = mx.stack(values) - mx.array(spline.knots(spec.spline).astype(np.float32))
    return spec.spline.penalty * share * mx.square(moved).mean()


def stats(batch: Batch, loss: mx.array, figures: mx.array, penalty: mx.array) -> StepStats:
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
        penalty=number(penalty),
    )

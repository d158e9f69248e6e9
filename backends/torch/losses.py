"""Log-probabilities of the masked tokens, and the objectives over them, in float32."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn import functional

from backends.contract import Batch, Objective, StepStats, Window
from backends.torch import layout
from backends.torch.head import logprobs
from backends.torch.model import Opened
from backends.torch.passes import states, takes_masks


@dataclass(frozen=True)
class BatchLoss:
    """`value`: this batch's share of the window's loss, a scalar tensor. `stats` gives the figures
    and waits for the device, so it is called when there is nothing left to be queued."""

    value: Any
    stats: Callable[[], StepStats]


def token_logprobs(
    opened: Opened, batch: Batch, *, share: bool = True, checkpointing: bool = False
) -> Any:
    """Float32 [rows, width]: log p(token | tokens before it) where masked, else 0.

    Rows are padded on the right, and attention is causal: no real token sees padding, so no
    attention mask is needed. Only the positions before masked tokens reach the head. Prompts that
    rows share run once, and the last layer leaves out what nobody reads, unless `share` is off:
    dropout draws a mask for every position.
    """
    device = opened.device
    found = layout.shared(batch, device) if share and takes_masks(opened) else None
    found = found or layout.plain(batch, device)
    before = states(opened, found, narrow=share, checkpointing=checkpointing)
    head = opened.model.lm_head
    cap = getattr(opened.model.config, "final_logit_softcapping", None)
    values = logprobs(before, found.targets, head.weight, head.bias, cap)
    # Placed by index, not summed by index, since the latter is unordered on CUDA.
    return values.new_zeros(found.shape).index_put(found.own, values)


def batch_loss(
    opened: Opened,
    objective: Objective,
    batch: Batch,
    window: Window,
    *,
    share: bool = True,
    checkpointing: bool = False,
) -> BatchLoss:
    """This batch's share of the window's loss."""
    tokens = token_logprobs(opened, batch, share=share, checkpointing=checkpointing)
    if objective.kind == "dpo":
        return _preference(objective, tokens.sum(dim=1), batch, window)
    loss = -tokens.sum(dim=1).sum() / window.tokens

    def stats() -> StepStats:
        return StepStats(float(loss.item()), len(batch.ids), int(batch.mask.sum()))

    return BatchLoss(loss, stats)


def _preference(objective: Objective, logprobs: Any, batch: Batch, window: Window) -> BatchLoss:
    if not batch.pairs or batch.reference is None:
        raise ValueError("DPO needs a batch of pairs with the reference's log-probabilities")
    pairs = len(batch.ids) // 2
    reference = torch.from_numpy(batch.reference).to(logprobs.device)
    ratio = logprobs - reference
    margin = objective.beta * (ratio[:pairs] - ratio[pairs:])
    trained = torch.from_numpy(batch.mask.sum(axis=1)).to(logprobs.device, torch.float32)
    per_pair = _pair_losses(objective, ratio, trained, pairs)
    loss = per_pair.sum() / window.pairs
    if objective.sft_weight:
        loss = loss - objective.sft_weight * logprobs[:pairs].sum() / window.tokens
    sums = [loss, margin.sum(), (margin > 0).sum(), ratio[:pairs].sum()]
    found = torch.stack([figure.detach() for figure in sums])

    def stats() -> StepStats:
        figures = found.tolist()
        return StepStats(
            loss=figures[0],
            rows=len(batch.ids),
            tokens=int(batch.mask.sum()),
            pairs=pairs,
            margin=figures[1],
            wins=int(figures[2]),
            chosen_logratio=figures[3],
            chosen_tokens=int(batch.mask[:pairs].sum()),
        )

    return BatchLoss(loss, stats)


def _pair_losses(objective: Objective, ratio: Any, trained: Any, pairs: int) -> Any:
    """Float32 [pairs]; the formulas are those named in contract.Objective."""
    if objective.loss == "length-normalised":
        ratio = ratio / trained
    gap = ratio[:pairs] - ratio[pairs:]
    if objective.loss == "ipo":
        return (gap - 1.0 / (2.0 * objective.beta)).square()
    if objective.loss == "hinge":
        return functional.relu(1.0 - objective.beta * gap)
    return -functional.logsigmoid(objective.beta * gap)

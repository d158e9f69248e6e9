"""Log-probabilities of the masked tokens, and the objectives over them, in float32."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from backends.contract import Batch, Objective, StepStats, Window
from backends.torch.model import Opened

HEAD_BYTES = 256 << 20
"""Float32 logits held at once; more positions than fit are done in chunks."""


@dataclass(frozen=True)
class Rows:
    """A batch on the device: `ids` int64 and `mask` bool [rows, width]."""

    ids: Any
    mask: Any

    @classmethod
    def of(cls, batch: Batch, device: Any) -> Rows:
        ids = torch.from_numpy(batch.ids).to(device, torch.int64)
        return cls(ids, torch.from_numpy(batch.mask).to(device))


def token_logprobs(opened: Opened, rows: Rows) -> Any:
    """Float32 [rows, width]: log p(token | tokens before it) where masked, else 0.

    Rows are padded on the right, and attention is causal: no real token sees padding, so no
    attention mask is needed. Only the positions before masked tokens reach the head.
    """
    hidden = opened.hidden(rows.ids)
    row, place = rows.mask.nonzero(as_tuple=True)
    before, targets = hidden[row, place - 1], rows.ids[row, place]
    step = max(1, HEAD_BYTES // (4 * opened.info.vocabulary))
    parts = []
    for start in range(0, len(targets), step):
        piece = before[start : start + step], targets[start : start + step]
        if len(targets) > step and torch.is_grad_enabled():
            # Recomputed in the backward pass: the logits of one chunk at a time are alive.
            part = checkpoint(
                _logprobs, opened, *piece, use_reentrant=False, preserve_rng_state=False
            )
        else:
            part = _logprobs(opened, *piece)
        parts.append(part)
    # Placed by index, not summed by index, since the latter is unordered on CUDA.
    empty = torch.zeros(rows.ids.shape, dtype=torch.float32, device=hidden.device)
    return empty.index_put((row, place), torch.cat(parts))


def _logprobs(opened: Opened, hidden: Any, targets: Any) -> Any:
    return -functional.cross_entropy(opened.head(hidden), targets, reduction="none")


def batch_loss(
    opened: Opened, objective: Objective, batch: Batch, window: Window
) -> tuple[Any, StepStats]:
    """This batch's share of the window's loss, as a scalar tensor and as figures."""
    rows = Rows.of(batch, opened.device)
    logprobs = token_logprobs(opened, rows).sum(dim=1)
    if objective.kind == "sft":
        loss = -logprobs.sum() / window.tokens
        return loss, StepStats(float(loss.item()), len(batch.ids), int(batch.mask.sum()))
    return _preference(objective, logprobs, batch, window)


def _preference(
    objective: Objective, logprobs: Any, batch: Batch, window: Window
) -> tuple[Any, StepStats]:
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
    figures = torch.stack(
        [loss.detach(), margin.detach().sum(), (margin > 0).sum(), ratio[:pairs].detach().sum()]
    ).tolist()
    return loss, StepStats(
        loss=figures[0],
        rows=len(batch.ids),
        tokens=int(batch.mask.sum()),
        pairs=pairs,
        margin=figures[1],
        wins=int(figures[2]),
        chosen_logratio=figures[3],
        chosen_tokens=int(batch.mask[:pairs].sum()),
    )


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

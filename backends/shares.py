"""A batch's part of its window: what all batches of a window add up to 1 by."""

from __future__ import annotations

from backends.contract import Batch, Objective, Window


def share_of(objective: Objective, batch: Batch, window: Window) -> float:
    """By what the objective averages over: trained tokens, or pairs."""
    if objective.kind == "sft":
        return int(batch.mask.sum()) / window.tokens
    return (len(batch.ids) // 2) / window.pairs

"""How the past is protected while a topic is learned: a strategy takes one optimizer step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from backends.contract import Batch, Learner, StepStats, Window


class Strategy(Protocol):
    def step(
        self,
        learner: Learner,
        batches: Sequence[Batch],
        window: Window,
        learning_rate: float,
        max_grad_norm: float,
    ) -> tuple[list[StepStats], float]:
        """One window: the stats of its batches, and the gradient norm before clipping."""

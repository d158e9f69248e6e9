"""What a stage trains, and how the run wants that handled."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from backends.contract import Batch, Objective
from mindprint.errors import Interrupted
from mindprint.schedule import Shape, learning_rate
from mindprint.tokens.batches import BatchPlan
from mindprint.tokens.render import Row
from mindprint.watch import Watch


@dataclass(frozen=True)
class Job:
    """What a stage trains. `batch_of` makes a batch from row (or pair) numbers."""

    topic: str
    stage: str
    attempt: int
    objective: Objective
    batches: BatchPlan
    batch_of: Callable[[Sequence[int]], Batch]
    peak_rate: float
    shape: Shape
    warmup_ratio: float
    max_grad_norm: float
    held_out: tuple[Row, ...] = ()
    watch: Watch | None = None

    @property
    def where(self) -> str:
        return f"{self.topic}, {self.stage}"

    def rate(self, step: int) -> float:
        """The learning rate as planned, steps from 0."""
        steps = self.batches.steps
        return learning_rate(step, steps, self.peak_rate, self.shape, self.warmup_ratio)


@dataclass(frozen=True)
class Rules:
    """How the run wants its stages handled."""

    checkpoint_every: int
    on_oom: Literal["stop", "shrink"]
    stop: Callable[[], bool]

    def halt(self) -> None:
        """Raises Interrupted when the run was asked to stop: for work that is begun again whole,
        which has nothing to save."""
        if self.stop():
            raise Interrupted("stopped as asked; what is finished is saved")

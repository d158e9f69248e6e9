"""Whole stages in the hands of another trainer: what it is given, and what it has to tell."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from backends.contract import Availability, Batch, Objective, OptimizerSpec, Session


@dataclass(frozen=True)
class Course:
    """The steps of a stage, counted from 0 over all its epochs.

    `batches_of`: the window of a step. Within an epoch all windows but the last hold equally many
    batches, the last as many or fewer. `rate_of`: the learning rate of a step.
    """

    epochs: int
    steps_per_epoch: int
    batches_of: Callable[[int], Sequence[Batch]]
    rate_of: Callable[[int], float]
    max_grad_norm: float | None

    @property
    def steps(self) -> int:
        return self.epochs * self.steps_per_epoch


@dataclass(frozen=True)
class Taken:
    """One optimizer step. `loss`: the window's, as the contract's Objective defines it; `norm`: of
    the gradient, before clipping; `seconds`: what it took, without what is done once. For pairs,
    `margin` is the mean over the window's pairs and `wins` counts those whose margin is above 0.
    Where `loss` or `norm` is not finite, nothing was stepped."""

    loss: float
    norm: float
    seconds: float
    margin: float = 0.0
    wins: int = 0


Heard = Callable[[Taken], bool]
"""Told of every step; False ends the stage there."""


class Engine(Protocol):
    """Trains the adapter that a session has in training over a whole stage, with a loop and an
    optimizer of its own."""

    name: str

    def availability(self) -> Availability: ...

    def train(
        self,
        session: Session,
        objective: Objective,
        optimizer: OptimizerSpec,
        course: Course,
        heard: Heard,
    ) -> None:
        """Take the steps of `course`. DPO's reference is the policy as this begins.

        `heard` is called after each step, with the values as the step left them readable through
        `session.adapters` and dropout off; after one that is not finite the stage ends whatever it
        answers. It may raise. However the stage ends, its adapter is attached to the session as it
        was before, with the values that the last step left or that `heard` restored.

        Raises AdapterError when no adapter trains, when another is attached beside it, or when
        DPO's reference is not the one in the batches; OutOfMemory.
        """

"""One side: a backend that goes through both stages, and all that is compared of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from backends import engine, get
from backends.contract import (
    AdapterSpec,
    GenerateSpec,
    ModelSpec,
    Objective,
    OptimizerSpec,
    Params,
    Session,
    Spline,
)
from backends.engines import Course, Taken
from mindprint.strategies.sequential import Sequential
from mindprint.tokens.batches import pad, window_of
from side_by_side.architectures import Architecture
from side_by_side.lessons import MAX_GRAD_NORM, Lessons, Steps, dpo_steps, sft_steps

ANSWER = 64
LONGEST = 128
SFT = Objective("sft")
SFT_ADAPTER = AdapterSpec(rank=8, alpha=16.0, seed=11)
DPO_ADAPTER = AdapterSpec(rank=4, alpha=8.0, targets=("o_proj", "down_proj"), seed=12)
SFT_SPLINE = Spline(low=-0.5, high=0.5)
DPO_SPLINE = Spline(7, -0.2, 0.4, interpolation="soft", outside="clamp", rate=3.0)
"""All that a spline can be, on grids that the adapters' outputs leave."""


@dataclass(frozen=True)
class Stage:
    """`losses`: of each step. `began`, `ended`: the trainable adapter before and after."""

    losses: NDArray[np.float64]
    began: Params
    ended: Params

    @property
    def update(self) -> Params:
        return {name: ended - self.began[name] for name, ended in self.ended.items()}


@dataclass(frozen=True)
class Side:
    """`tokens`: log-probability of each trained token of the probes, before and after training;
    `answers`: token ids of each greedy answer after both stages; `served`: which library did its
    matrix products, and with how many threads."""

    sft: Stage
    dpo: Stage
    tokens: tuple[NDArray[np.float32], NDArray[np.float32]]
    answers: tuple[tuple[int, ...], ...]
    served: str = ""


def opened(backend: str, folder: Path) -> Session:
    """Float32 on the CPU. Raises ModelError where the backend refuses the model."""
    spec = ModelSpec(str(folder), dtype="float32", device="cpu", longest_row=LONGEST)
    return get(backend).open(spec)


Trainer = Callable[[Session, Objective, Steps], Stage]


def go(
    backend: str, folder: Path, made: Architecture, lessons: Lessons, steps: int, train: Trainer
) -> Side:
    """`steps` of SFT, half as many of DPO."""
    session = opened(backend, folder)
    try:
        before = logprobs(session, lessons)
        session.adapters.add(of_kind(SFT_ADAPTER, made, SFT_SPLINE), "sft")
        sft = train(session, SFT, sft_steps(lessons, steps))
        begin_dpo(session, made)
        dpo = train(session, preference(made), dpo_steps(lessons, steps // 2, session))
        spec = GenerateSpec(max_tokens=ANSWER, stop_ids=())
        answers = tuple(found.ids for found in session.generate(lessons.prompts, spec))
        tokens = (before, logprobs(session, lessons))
        return Side(sft, dpo, tokens, answers, _served(session))
    finally:
        session.close()


def of_kind(spec: AdapterSpec, made: Architecture, form: Spline) -> AdapterSpec:
    """The adapter as its model asks for it; `form` is what LS-LoRA's spline is."""
    return replace(spec, kind=made.kind, spline=form if made.kind == "lslora" else None)


def _served(session: Session) -> str:
    info = session.info
    return f"{info.blas} ({info.threads} thread{'' if info.threads == 1 else 's'})"


def preference(made: Architecture) -> Objective:
    """Pure over a frozen SFT adapter; else with mindprint's share of the chosen answers' loss."""
    return Objective("dpo", sft_weight=0.0 if made.frozen else 0.2)


def begin_dpo(session: Session, made: Architecture) -> None:
    """The adapter of SFT trains on, or is frozen under a new one."""
    if made.frozen:
        session.adapters.freeze("sft")
        session.adapters.add(of_kind(DPO_ADAPTER, made, DPO_SPLINE), "dpo")


def native(session: Session, objective: Objective, course: Steps) -> Stage:
    """As mindprint's loop takes its steps."""
    began = session.adapters.parameters()
    learner = session.learner(objective, OptimizerSpec())
    losses = []
    for step in range(course.steps):
        batches = course.batches(step)
        window, rate = window_of(batches), course.rate(step)
        stats, _ = Sequential().step(learner, batches, window, rate, MAX_GRAD_NORM)
        losses.append(sum(part.loss for part in stats))
    return Stage(np.array(losses), began, session.adapters.parameters())


def trl(session: Session, objective: Objective, course: Steps) -> Stage:
    """The same steps in the hands of TRL's trainers. Raises BackendUnavailable."""
    began = session.adapters.parameters()
    losses: list[float] = []
    plan = course.plan

    def heard(taken: Taken) -> bool:
        losses.append(taken.loss)
        return len(losses) < course.steps

    whole = Course(plan.epochs, plan.steps_per_epoch, course.batches, course.rate, MAX_GRAD_NORM)
    engine("trl").train(session, objective, OptimizerSpec(), whole, heard)
    return Stage(np.array(losses), began, session.adapters.parameters())


def logprobs(session: Session, lessons: Lessons) -> NDArray[np.float32]:
    """Of each trained token of the probes."""
    batch = pad(lessons.probes)
    found = session.logprobs(batch, per_token=True).tokens
    if found is None:
        raise RuntimeError("the session gave no log-probabilities of single tokens")
    return found[batch.mask]

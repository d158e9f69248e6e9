"""How long a run will take: three real steps of its own longest rows, then taken back."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from backends.contract import AdapterSpec, Batch, GenerateSpec, Objective, OptimizerSpec, Session
from mindprint.config import Config
from mindprint.curriculum.records import Curriculum
from mindprint.plan import Plan
from mindprint.preferences import reference_logprobs
from mindprint.tokens.batches import pad, pad_pairs, window_of
from mindprint.tokens.lessons import question
from mindprint.tokens.render import Renderer

STEPS = 3
QUESTIONS = 8


@dataclass(frozen=True)
class Probe:
    """Seconds a step and a question, seconds in all, and the peak of memory in bytes.

    Steps are timed on the longest rows there are, so the sum is an upper estimate.
    """

    sft_step: float
    dpo_step: float
    question: float
    total: float
    peak_memory: int

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def probe(
    session: Session, plan: Plan, curriculum: Curriculum, config: Config, renderer: Renderer
) -> Probe:
    """Train three steps on a throw-away adapter; the session is left as it was."""
    spec = AdapterSpec(
        rank=config.adapter.rank,
        alpha=config.adapter.alpha,
        targets=config.adapter.targets,
        scaling=config.adapter.scaling,
        seed=config.run.seed,
    )
    session.adapters.add(spec, "probe")
    try:
        sft = _sft(session, plan, config)
        dpo = _dpo(session, plan, config)
        asked = _question(session, plan, curriculum, config, renderer)
    finally:
        session.adapters.unload("probe")
    steps = {kind: sum(s.steps for s in plan.stages if s.name == kind) for kind in ("sft", "dpo")}
    memory = session.memory()
    return Probe(
        sft_step=sft,
        dpo_step=dpo,
        question=asked,
        total=steps["sft"] * sft + steps["dpo"] * dpo + plan.questions * asked,
        peak_memory=max(memory.peak_rss, memory.device_peak),
    )


def _sft(session: Session, plan: Plan, config: Config) -> float:
    rows = sorted(
        (row for lesson in plan.lessons for row in lesson.rows), key=lambda r: -len(r.ids)
    )
    size, count = config.sft.batch_size, config.sft.accumulate
    batches = [
        pad(rows[place * size : (place + 1) * size] or rows[:size]) for place in range(count)
    ]
    learner = session.learner(Objective("sft"), OptimizerSpec())

    def step() -> None:
        window = window_of(batches)
        for batch in batches:
            learner.accumulate(batch, window)
        learner.apply(config.sft.learning_rate, config.sft.max_grad_norm)

    return _timed(step)


def _dpo(session: Session, plan: Plan, config: Config) -> float:
    pairs = [pair for lesson in plan.lessons for pair in lesson.pairs]
    if not pairs or not any(stage.name == "dpo" for stage in plan.stages):
        return 0.0
    pairs.sort(key=lambda pair: -max(len(pair.chosen.ids), len(pair.rejected.ids)))
    chosen = pairs[: config.dpo.batch_size]
    reference = reference_logprobs(session, chosen, config.dpo.batch_size)
    batch: Batch = pad_pairs(
        [pair.chosen for pair in chosen],
        [pair.rejected for pair in chosen],
        reference.T.reshape(-1),
    )
    objective = Objective("dpo", config.dpo.beta, config.dpo.loss, config.dpo.sft_weight)
    learner = session.learner(objective, OptimizerSpec())

    def step() -> None:
        window = window_of([batch] * config.dpo.accumulate)
        for _ in range(config.dpo.accumulate):
            learner.accumulate(batch, window)
        learner.apply(config.dpo.learning_rate, config.dpo.max_grad_norm)

    return _timed(step)


def _question(
    session: Session, plan: Plan, curriculum: Curriculum, config: Config, renderer: Renderer
) -> float:
    items = [item for lesson in plan.lessons for item in lesson.topic.quiz][:QUESTIONS]
    if not items:
        return 0.0
    prompts = [renderer.prompt(question(curriculum.system, item.question)) for item in items]
    spec = GenerateSpec(max_tokens=config.eval.max_tokens, stop_ids=renderer.stop_ids)
    started = time.perf_counter()
    session.generate(prompts, spec)
    return (time.perf_counter() - started) / len(items)


def _timed(step: Callable[[], None]) -> float:
    step()  # the first one pays for allocation and compilation
    started = time.perf_counter()
    for _ in range(STEPS):
        step()
    return (time.perf_counter() - started) / STEPS

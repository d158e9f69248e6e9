"""How long a run will take: three real steps of its own longest rows, then taken back."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from backends.contract import (
    AdapterSpec,
    Batch,
    GenerateSpec,
    Objective,
    OptimizerSpec,
    Session,
    Spline,
)
from mindprint.adapter import spec_of
from mindprint.config import Config
from mindprint.curriculum.records import Curriculum
from mindprint.evals.likelihood import weigh
from mindprint.handing import resolve_handoff
from mindprint.plan import Plan, pairs_of
from mindprint.preferences import DRAWS, reference_logprobs
from mindprint.tokens.batches import pad, pad_pairs, window_of
from mindprint.tokens.lessons import question
from mindprint.tokens.render import Renderer

STEPS = 3
QUESTIONS = 8


@dataclass(frozen=True)
class Probe:
    """Seconds: of a step, of a pair's reference, of a held-out row, of a question answered and
    weighed, of opening the model, and in all; and the peak of memory in bytes.

    Steps are timed on the longest rows there are and questions in a small batch, so the sum is an
    upper estimate of a first attempt at every topic with every stage that may come. Where LS-LoRA
    is stacked everything is timed over the `branches` that act as the last topic trains, and
    `sft_first` is a step of the first topic's, over those of another run alone.
    """

    sft_step: float
    dpo_step: float
    reference: float
    held_out: float
    question: float
    opening: float
    total: float
    peak_memory: int
    branches: int = 0
    sft_first: float = 0.0

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def probe(
    session: Session,
    plan: Plan,
    curriculum: Curriculum,
    config: Config,
    renderer: Renderer,
    opening: float = 0.0,
) -> Probe:
    """Train three steps on a throw-away adapter; the session is left as it was. `opening`: seconds
    that the model took to open."""
    attached: list[str] = []
    first, theirs = 0.0, _theirs(plan, config)
    own = _branches(session, plan, config)
    try:
        _stack(session, theirs, attached)
        _attach(session, spec_of(config), attached)
        if own:
            first = _sft(session, plan, config)
            session.adapters.unload(attached.pop())
            _stack(session, own, attached)
            _attach(session, spec_of(config), attached)
        held_out = _held_out(session, plan, config)
        sft = _sft(session, plan, config)
        reference, dpo = _dpo(session, plan, config)
        asked = _question(session, plan, curriculum, config, renderer)
    finally:
        for name in reversed(attached):
            session.adapters.unload(name)
    memory = session.memory()
    found = Probe(
        sft_step=sft,
        dpo_step=dpo,
        reference=reference,
        held_out=held_out,
        question=asked,
        opening=opening,
        total=0.0,
        peak_memory=max(memory.peak_rss, memory.device_peak),
        branches=len(theirs) + len(own),
        sft_first=first,
    )
    return replace(found, total=_total(found, plan, config))


def _theirs(plan: Plan, config: Config) -> list[AdapterSpec]:
    """The LS-LoRAs of another run's past, as if they were shaped as this run's adapters."""
    count = 0 if plan.footprint is None else plan.footprint.beside(config.handoff)
    spec = spec_of(config)
    return [replace(spec, kind="lslora", spline=spec.spline or Spline())] * count


def _branches(session: Session, plan: Plan, config: Config) -> list[AdapterSpec]:
    """What this run's topics before the last one leave beside the weights, where LS-LoRA is
    stacked."""
    if config.adapter.kind != "lslora" or resolve_handoff(config, session) != "stack":
        return []
    each = [spec_of(config)]
    if config.dpo.adapter == "new" and any(stage.name == "dpo" for stage in plan.stages):
        each.append(spec_of(config, "dpo"))
    return each * (len(plan.lessons) - 1)


def _attach(session: Session, spec: AdapterSpec, attached: list[str]) -> None:
    """The adapter that trains."""
    session.adapters.add(spec, f"probe {len(attached) + 1}")
    attached.append(f"probe {len(attached) + 1}")


def _stack(session: Session, specs: Sequence[AdapterSpec], attached: list[str]) -> None:
    """Adapters that have trained, one over the other."""
    for spec in specs:
        _attach(session, spec, attached)
        session.adapters.freeze(attached[-1])


def _total(found: Probe, plan: Plan, config: Config) -> float:
    """Each part as often as the plan has it."""
    sft = [stage for stage in plan.stages if stage.name == "sft"]
    dpo = [stage for stage in plan.stages if stage.name == "dpo"]
    # as each stage begins, and after each of its epochs
    measured = sum(stage.held_out * (stage.epochs + 1) for stage in sft)
    pairs = sum(stage.rows for stage in dpo)
    drawn = 0
    if dpo and config.dpo.pairs != "file":
        drawn = DRAWS * sum(len(lesson.rows) for lesson in plan.lessons)
    return (
        found.opening
        + found.sft_step * sum(stage.steps for stage in sft)
        + found.dpo_step * sum(stage.steps for stage in dpo)
        + found.reference * pairs
        + found.held_out * measured
        + found.question * (plan.questions + drawn)
    )


def _held_out(session: Session, plan: Plan, config: Config) -> float:
    """Seconds that one of the longest rows takes without gradients, in a batch."""
    rows = sorted((row for one in plan.lessons for row in one.held_out), key=lambda r: -len(r.ids))
    batch = rows[: config.sft.batch_size]
    return _timed(lambda: session.logprobs(pad(batch))) / len(batch) if batch else 0.0


def _sft(session: Session, plan: Plan, config: Config) -> float:
    rows = sorted(
        (row for lesson in plan.lessons for row in lesson.rows), key=lambda r: -len(r.ids)
    )
    size, count = config.sft.batch_size, config.sft.accumulate
    batches = [
        pad(rows[place * size : (place + 1) * size] or rows[:size]) for place in range(count)
    ]
    learner = session.learner(
        Objective("sft"), OptimizerSpec(), checkpointing="sft" in plan.checkpointed
    )

    def step() -> None:
        window = window_of(batches)
        for batch in batches:
            learner.accumulate(batch, window)
        learner.apply(config.sft.learning_rate, config.sft.max_grad_norm)

    return _timed(step)


def _dpo(session: Session, plan: Plan, config: Config) -> tuple[float, float]:
    """Seconds of a pair's reference, and of a step."""
    if not any(stage.name == "dpo" for stage in plan.stages):
        return 0.0, 0.0
    pairs = [pair for lesson in plan.lessons for pair in pairs_of(lesson, config)]
    pairs.sort(key=lambda pair: -max(len(pair.chosen.ids), len(pair.rejected.ids)))
    chosen = pairs[: config.dpo.batch_size]
    reference = reference_logprobs(session, chosen, config.dpo.batch_size)
    weighing = _timed(lambda: reference_logprobs(session, chosen, config.dpo.batch_size))
    batch: Batch = pad_pairs(
        [pair.chosen for pair in chosen],
        [pair.rejected for pair in chosen],
        reference.T.reshape(-1),
    )
    objective = Objective("dpo", config.dpo.beta, config.dpo.loss, config.dpo.sft_weight)
    saving = "dpo" in plan.checkpointed
    learner = session.learner(objective, OptimizerSpec(), checkpointing=saving)

    def step() -> None:
        window = window_of([batch] * config.dpo.accumulate)
        for _ in range(config.dpo.accumulate):
            learner.accumulate(batch, window)
        learner.apply(config.dpo.learning_rate, config.dpo.max_grad_norm)

    return weighing / len(chosen), _timed(step)


def _question(
    session: Session, plan: Plan, curriculum: Curriculum, config: Config, renderer: Renderer
) -> float:
    """Seconds of a question answered, its reference and choices weighed."""
    items = [item for lesson in plan.lessons for item in lesson.topic.quiz][:QUESTIONS]
    if not items:
        return 0.0
    prompts = [renderer.prompt(question(curriculum.system, item.question)) for item in items]
    spec = GenerateSpec(max_tokens=config.eval.max_tokens, stop_ids=renderer.stop_ids)
    started = time.perf_counter()
    session.generate(prompts, spec)
    weigh(session, renderer, curriculum.system, items)
    return (time.perf_counter() - started) / len(items)


def _timed(step: Callable[[], object]) -> float:
    step()  # the first one pays for allocation and compilation
    started = time.perf_counter()
    for _ in range(STEPS):
        step()
    return (time.perf_counter() - started) / STEPS

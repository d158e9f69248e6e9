"""A small curriculum and a whole run over it, on a tiny model, as the CLI would make it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from backends import engine, get
from backends.contract import ModelSpec, Session
from mindprint.config import Resolved, resolve
from mindprint.curriculum.records import (
    Curriculum,
    Marker,
    Message,
    PreferenceRow,
    QuizItem,
    Source,
    Topic,
    TrainRow,
    Voice,
)
from mindprint.events import Event
from mindprint.pipeline import Order, run_curriculum
from mindprint.plan import Plan, make_plan
from mindprint.report.model import Result
from mindprint.rundir import RunDir
from mindprint.tokens.render import Renderer

HERE = Source("made/by/a/test.jsonl", 1)
QUICK = (
    "sft.epochs=2",
    "sft.learning_rate=5e-3",
    "eval.max_tokens=12",
    "eval.resamples=200",
    "gate.retries=0",
)


def topic(number: int, rows: int = 6) -> Topic:
    """A topic about lamps; preferences say the same in the author's voice."""
    said = [(f"What is lamp {place}?", f"Lamp {place} is grey {number}.") for place in range(rows)]
    return Topic(
        id=f"unit/chapter/topic-{number}",
        title=f"Lamps {number}",
        note="",
        train=tuple(
            TrainRow((Message("user", asked), Message("assistant", told)), HERE)
            for asked, told in said
        ),
        preferences=tuple(
            PreferenceRow((Message("user", asked),), f"{told} By the tide!", told, HERE)
            for asked, told in said
        ),
        quiz=(
            *(
                QuizItem(f"Tell of lamp {n}.", told, ((f"grey {number}",),), (), (), None, HERE, n)
                for n, (_, told) in enumerate(said[:3])
            ),
            QuizItem("Which colour?", "grey", (), (), ("grey", "red", "blue"), 0, HERE, 3),
        ),
    )


def curriculum(topics: int = 2, rows: int = 6) -> Curriculum:
    return Curriculum(
        root=Path("my-author"),
        title="Lamps",
        author="A keeper",
        system="You are a keeper.",
        note="",
        topics=tuple(topic(number, rows) for number in range(topics)),
        voice=Voice(markers=(Marker("tide", (r"\bby the tide\b",), (1, 1)),)),
    )


@dataclass
class Made:
    """A run under way or finished, with everything that was told."""

    path: Path
    plan: Plan
    resolved: Resolved
    events: list[Event] = field(default_factory=list)
    result: Result | None = None

    def notices(self) -> str:
        return "\n".join(str(e.data["text"]) for e in self.events if e.kind == "notice")

    def verdicts(self, stage: str) -> list[tuple[bool, str]]:
        return [
            (bool(event.data["accepted"]), str(event.data["verdict"]))
            for event in self.events
            if event.kind == "stage-finished" and event.stage == stage
        ]


def make_run(
    path: Path,
    model: Path,
    backend: str,
    *settings: str,
    teach: Curriculum | None = None,
    meddle: Callable[[Session], None] | None = None,
    listen: Callable[[Event, Session], None] | None = None,
    stop: Callable[[], bool] = lambda: False,
) -> Made:
    """Run (or go on with) `path`. `meddle` may break the session first, `listen` while it runs."""
    author = teach or curriculum()
    resolved = resolve(None, [*QUICK, *settings], model__path=str(model))
    renderer = Renderer.open(model)
    plan = make_plan(author, resolved.config, renderer)
    made = Made(path, plan, resolved)
    if path.exists():
        run = RunDir.open(path)
        run.lock()
    else:
        run = RunDir.create(path)
    spec = ModelSpec(
        str(model),
        dtype="float32",
        device="cpu",
        longest_row=plan.longest_row,
        quantization=resolved.config.model.quantization,
    )
    session = get(backend).open(spec)
    if meddle is not None:
        meddle(session)

    def hear(event: Event) -> None:
        made.events.append(event)
        if listen is not None:
            listen(event, session)

    name = resolved.config.run.engine
    trainer = None if name == "native" else engine(name)
    order = Order(author, resolved, plan, backend, str(model), hear, stop=stop, engine=trainer)
    try:
        made.result = run_curriculum(order, session, renderer, run)
    finally:
        run.release()
        session.close()
    return made


def tree_bytes(path: Path) -> dict[str, bytes]:
    """Every adapter file and the ledger of a run, by name."""
    wanted = ("adapter_config.json", "adapter_model.safetensors", "ledger.json", "reference.npy")
    return {
        file.relative_to(path).as_posix(): file.read_bytes()
        for file in sorted(path.rglob("*"))
        if file.name in wanted
    }

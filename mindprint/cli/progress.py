"""What a run is doing, told from its events: a live view on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from mindprint.events import Event, Listener

if TYPE_CHECKING:
    from rich.console import Console

PLAIN_LINES_A_STAGE = 8


@dataclass
class TopicState:
    """One topic's line: `state` is waiting, running, passed or failed."""

    title: str
    state: str = "waiting"
    accuracy: float | None = None
    voice: float | None = None


@dataclass
class RunState:
    """Everything a view shows. `planned` maps a topic to the steps its first attempt may take."""

    planned: Mapping[str, int]
    clock: Callable[[], float] = time.monotonic
    topics: dict[str, TopicState] = field(default_factory=dict)
    topic: str = ""
    stage: str = ""
    step: int = 0
    steps: int = 0
    loss: float | None = None
    margin: float | None = None
    speed: float = 0.0
    taken: int = 0
    here: int = 0
    notices: list[str] = field(default_factory=list)
    started: float = 0.0

    def hear(self, event: Event) -> None:
        """Take in one event of the pipeline."""
        handler = getattr(self, "_" + event.kind.replace("-", "_"), None)
        if handler is not None:
            handler(event, event.data)

    def seconds_left(self) -> float | None:
        """From the steps taken so far and those planned, evaluation included; None too early."""
        if self.taken < 5:
            return None
        waiting = [name for name, known in self.topics.items() if known.state == "waiting"]
        ahead = sum(self.planned.get(name, 0) for name in waiting)
        if self.topic:
            rest = self.planned.get(self.topic, 0) - self.here
            ahead += max(rest, self.steps - self.step, 0)
        return (self.clock() - self.started) / self.taken * ahead

    def _run_started(self, event: Event, data: Mapping[str, Any]) -> None:
        self.started = self.clock()
        self.topics = {topic["id"]: TopicState(topic["title"]) for topic in data["topics"]}

    def _topic_started(self, event: Event, data: Mapping[str, Any]) -> None:
        self.topic, self.stage, self.here = event.topic, "", 0
        self.step = self.steps = 0
        self.topics.setdefault(event.topic, TopicState(event.topic)).state = "running"

    def _stage_started(self, event: Event, data: Mapping[str, Any]) -> None:
        self.stage, self.step, self.steps = event.stage, 0, int(data["steps"])
        self.loss = self.margin = None

    def _step(self, event: Event, data: Mapping[str, Any]) -> None:
        # A resumed stage starts at a later step: only steps taken here tell the time.
        self.here, self.taken = self.here + 1, self.taken + 1
        self.step, self.steps = int(data["step"]), int(data["steps"])
        self.loss, self.margin = data["loss"], data.get("margin")
        self.speed = data["tokens_per_second"]

    def _evaluated(self, event: Event, data: Mapping[str, Any]) -> None:
        known = self.topics.get(event.topic)
        if known is not None:
            known.accuracy, known.voice = data["accuracy"], data["voice"]

    def _topic_finished(self, event: Event, data: Mapping[str, Any]) -> None:
        known = self.topics.setdefault(event.topic, TopicState(event.topic))
        known.state = data["status"]
        known.accuracy, known.voice = data["accuracy"], data["voice"]
        self.topic = self.stage = ""

    def _notice(self, event: Event, data: Mapping[str, Any]) -> None:
        known = self.topics.get(event.topic)
        if known is not None and data["text"] == "finished earlier":
            known.state = "finished"
        self.notices.append(data["text"])


@contextmanager
def progress(planned: Mapping[str, int], console: Console | None = None) -> Iterator[Listener]:
    """A listener for the pipeline: live where stderr is a terminal, else plain lines."""
    from rich.console import Console

    console = console or Console(stderr=True, highlight=False)
    if not console.is_terminal:
        yield plain(lambda line: console.print(line, soft_wrap=True, markup=False))
        return
    from mindprint.cli.live import live

    with live(RunState(planned), console) as listener:
        yield listener


def plain(say: Callable[[str], None]) -> Listener:
    """One `key=value` line an event; of a stage's steps the first, the last, a few between."""

    def listen(event: Event) -> None:
        data = event.data
        if event.kind == "step":
            every = max(1, data["steps"] // PLAIN_LINES_A_STAGE)
            if data["step"] not in {1, data["steps"]} and data["step"] % every:
                return
        line = _LINES.get(event.kind, _other)(event, data)
        if line:
            say(line)

    return listen


def _place(event: Event) -> str:
    stage = f" stage={event.stage}" if event.stage else ""
    return f"topic={event.topic}{stage}"


def _step_line(event: Event, data: Mapping[str, Any]) -> str:
    margin = f" margin={data['margin']:.3f}" if data.get("margin") is not None else ""
    return (
        f"{_place(event)} step={data['step']}/{data['steps']} loss={data['loss']:.4f}{margin} "
        f"tok/s={data['tokens_per_second']:.0f}"
    )


def _evaluated_line(event: Event, data: Mapping[str, Any]) -> str:
    scores = f"accuracy={data['accuracy']:.2f} voice={data['voice']:.2f}"
    return f"topic={event.topic} state={data['state']} {scores}"


def _verdict_line(event: Event, data: Mapping[str, Any]) -> str:
    status = f" status={data['status']}" if "status" in data else ""
    return f"{_place(event)}{status} verdict: {data['verdict']}" if data.get("verdict") else ""


def _notice_line(event: Event, data: Mapping[str, Any]) -> str:
    return f"{_place(event)} note: {data['text']}" if event.topic else f"note: {data['text']}"


def _other(event: Event, data: Mapping[str, Any]) -> str:
    return ""


def _started_line(event: Event, data: Mapping[str, Any]) -> str:
    return f"{_place(event)} steps={data['steps']} rows={data['rows']}"


_LINES: Mapping[str, Callable[[Event, Mapping[str, Any]], str]] = {
    "step": _step_line,
    "stage-started": _started_line,
    "stage-finished": _verdict_line,
    "evaluated": _evaluated_line,
    "topic-finished": _verdict_line,
    "notice": _notice_line,
}


def planned_steps(stages: Sequence[Any]) -> dict[str, int]:
    """Steps of a plan by topic."""
    steps: dict[str, int] = {}
    for stage in stages:
        steps[stage.topic] = steps.get(stage.topic, 0) + stage.steps
    return steps

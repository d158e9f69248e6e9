"""What a run is doing, gathered from its events: what every view of it shows."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from mindprint.events import Event


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

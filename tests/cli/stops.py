"""Runs that are stopped on the way, and what a refusal says."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from mindprint.cli import execute
from mindprint.events import Event, Listener
from tests.cli.conftest import Said

Stop = Callable[[Event], bool]


def stopping(
    monkeypatch: pytest.MonkeyPatch, when: Stop, number: int = signal.SIGINT, times: int = 1
) -> None:
    """Send this process a signal, once, at the first event that `when` is true of."""
    sent: list[Event] = []

    @contextmanager
    def listening(planned: object) -> Iterator[Listener]:
        def hear(event: Event) -> None:
            if not sent and when(event):
                sent.append(event)
                for _ in range(times):
                    signal.raise_signal(number)

        yield hear

    monkeypatch.setattr(execute, "progress", listening)


def at_step(step: int, topic: str) -> Stop:
    return lambda event: (
        event.kind == "step" and event.topic == topic and event.data["step"] == step
    )


def topic_ended(topic: str) -> Stop:
    return lambda event: event.kind == "topic-finished" and event.topic == topic


def topics_of(curriculum: Path) -> tuple[str, ...]:
    found = sorted(path.parent for path in curriculum.rglob("quiz.*") if path.parent != curriculum)
    return tuple(path.relative_to(curriculum).as_posix() for path in found)


def refused(said: Said, code: int, *words: str) -> None:
    assert said.code == code, said.err
    for word in words:
        assert word in said.error, said.error
    assert "Traceback" not in said.err and said.out == ""

"""What happens in a run, as it happens: one small record for the progress view and events.jsonl."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Kind = Literal[
    "run-started",
    "topic-started",
    "stage-started",
    "step",
    "stage-finished",
    "evaluated",
    "topic-finished",
    "memory",
    "splines",
    "notice",
    "run-finished",
]


@dataclass(frozen=True)
class Event:
    """`data` holds numbers, strings and lists of them, ready for JSON."""

    kind: Kind
    topic: str = ""
    stage: str = ""
    data: Mapping[str, Any] = field(default_factory=dict)


Listener = Callable[[Event], None]

"""Where a process is to die: within a moment of its work, or at a named point of a write."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

Moment = Literal["step", "checkpoint", "reference", "evaluation", "handoff", "ledger", "file"]

MOMENTS: dict[Moment, str] = {
    "step": "a training step",
    "checkpoint": "a checkpoint being written",
    "reference": "the reference pass",
    "evaluation": "an evaluation",
    "handoff": "a freeze or merge",
    "ledger": "the ledger being written",
    "file": "any other file being written",
}
SIX: tuple[Moment, ...] = ("step", "checkpoint", "reference", "evaluation", "handoff", "ledger")
WRITES: tuple[Moment, ...] = ("checkpoint", "ledger", "file")
POINTS = ("begun", "written", "synced", "renamed", "done")
LATEST = 0.95
"""Share of a moment's usual time by which a kill has come: later, it may have passed."""


@dataclass(frozen=True)
class Shot:
    """A kill -9 in the `nth` occurrence of a moment, counted from 1 in the process that dies.

    With a `point` at that point of the write; else `seconds` after the moment began, by a thread
    that sees that it is not over, or else takes the next one.
    """

    moment: Moment
    nth: int = 1
    seconds: float = 0.0
    point: str = ""


def moment_of(path: Path) -> Moment:
    """Which moment the write of `path` belongs to."""
    if path.name == "ledger.json":
        return "ledger"
    return "checkpoint" if path.parent.name == "checkpoints" else "file"


@dataclass(frozen=True)
class Survey:
    """What a whole run went through: seconds of each occurrence of a moment, and how often each
    point of a write was reached."""

    seconds: Mapping[str, Sequence[float]]
    points: Mapping[str, Mapping[str, int]]

    @classmethod
    def of(cls, tree: Mapping[str, Any]) -> Survey:
        return cls(tree["seconds"], tree["points"])


def drawn(moment: Moment, survey: Survey, rng: random.Random) -> Shot:
    """A shot anywhere in a whole run's occurrences of `moment`; of a write every second one falls
    on one of its named points."""
    if moment in WRITES and (moment == "file" or rng.random() < 0.5):
        reached = survey.points[moment]
        point = rng.choice([point for point in POINTS if reached.get(point)])
        return Shot(moment, rng.randint(1, reached[point]), point=point)
    usual = survey.seconds[moment]
    nth = rng.randint(1, len(usual))
    return Shot(moment, nth, rng.uniform(0.0, LATEST) * usual[nth - 1])

"""Arithmetic of a comparison: seconds a step, ratios with their spread, and proof of equal work."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from timing.protocol import Outcome


@dataclass(frozen=True)
class Spread:
    """A median with the least and the most."""

    median: float
    least: float
    most: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Self:
        return cls(statistics.median(values), min(values), max(values))

    def told(self, digits: int = 2) -> str:
        return f"{self.median:.{digits}f} ({self.least:.{digits}f} to {self.most:.{digits}f})"


def per_step(first: tuple[int, float], second: tuple[int, float]) -> float:
    """Seconds a step from two whole processes, each (steps, seconds): what both do once falls out.

    Raises ValueError where the second took no more steps, or no more time: too few steps then.
    """
    more, longer = second[0] - first[0], second[1] - first[1]
    if more <= 0 or longer <= 0:
        told = f"{second[0]} steps took {second[1]:.2f} s, {first[0]} took {first[1]:.2f} s"
        raise ValueError(f"no time a step can be told: {told}; raise the step counts")
    return longer / more


def ratios(ours: Sequence[float], theirs: Sequence[float]) -> Spread:
    """How many times as fast, repeat by repeat, since each pair ran side by side. Where the second
    side took part in every second repeat, its time stands for the next repeat too."""
    beside = [theirs[place * len(theirs) // len(ours)] for place in range(len(ours))]
    return Spread.of([their / our for our, their in zip(ours, beside, strict=True)])


@dataclass(frozen=True)
class Proof:
    """Whether two sides did the same work, in words."""

    equal: bool
    lines: tuple[str, ...]


def proof(ours: Outcome, theirs: Outcome, *, ids: bool = True) -> Proof:
    """Rows, targets and, with `ids`, the ids themselves (their checksum, where both have one)."""
    found = [
        ("rows", ours.rows, theirs.rows),
        ("trained tokens", ours.trained_tokens, theirs.trained_tokens),
    ]
    if ids and "digest" in ours.details and "digest" in theirs.details:
        found.append(("checksum of the ids", ours.details["digest"], theirs.details["digest"]))
    lines = [
        f"{name}: {one:,}, equal" if one == other else f"{name}: {one:,} and {other:,}, NOT EQUAL"
        for name, one, other in found
    ]
    return Proof(all(one == other for _, one, other in found), tuple(lines))


def parted(ours: Outcome, theirs: Outcome) -> float | None:
    """The largest difference of a step's loss over the loss; None where a side cannot tell, or
    fed other rows."""
    same = ours.details.get("digest") == theirs.details.get("digest")
    if not (same and ours.losses and theirs.losses):
        return None
    pairs = zip(ours.losses, theirs.losses, strict=True)
    return max(abs(one - other) / abs(one) for one, other in pairs)


def above(outcome: Outcome, device: str) -> int | None:
    """Bytes of the peak above the loaded model; on a GPU its own, None where a side has none."""
    if device == "cpu":
        return outcome.peak_rss - outcome.loaded_rss
    if "device_peak" not in outcome.details:
        return None
    return int(outcome.details["device_peak"]) - int(outcome.details["device_loaded"])


def settled(step_seconds: Sequence[float] | None) -> float | None:
    """The median step as the side itself timed it, the first one left out."""
    return statistics.median(step_seconds[1:]) if step_seconds and step_seconds[1:] else None

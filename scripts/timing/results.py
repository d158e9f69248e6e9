"""All that was measured, in one call or several: as JSON, as tables, and what is wrong with it."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self, TypeVar

from mindprint.disk.whole import write_text
from timing import evaluation, tables
from timing.comparisons import KINDS
from timing.limits import Limit
from timing.measured import STEPPED, Measured

Kept = TypeVar("Kept")

NAMES = (*KINDS, "memory", "plan", "limit", "evaluation")
"""Of the tables."""


def machine() -> dict[str, Any]:
    """What the figures depend on."""
    return {
        "processor": platform.machine(),
        "system": platform.system(),
        "cores": os.cpu_count(),
        "load": round(os.getloadavg()[0], 2),
        "python": platform.python_version(),
    }


@dataclass
class Results:
    """`compared`: every comparison; `peaks`: those made for their peaks alone, of too few steps to
    tell a time; `planned`: memory as planned and as measured; `exams`: of the evaluation."""

    compared: list[Measured] = field(default_factory=list)
    peaks: list[Measured] = field(default_factory=list)
    limits: list[Limit] = field(default_factory=list)
    planned: list[dict[str, Any]] = field(default_factory=list)
    exams: list[dict[str, Any]] = field(default_factory=list)
    machine: dict[str, Any] = field(default_factory=machine)

    @classmethod
    def read(cls, files: Sequence[Path]) -> Self:
        """Later files replace what earlier ones hold of the same work."""
        made = cls()
        for path in files:
            tree = json.loads(path.read_text("utf-8"))
            for one in map(Measured.from_json, tree["compared"]):
                made.keep(one)
            for one in map(Measured.from_json, tree["peaks"]):
                made.keep(one, peaks=True)
            for rates in map(Limit.from_json, tree["limits"]):
                made.keep_limit(rates)
            for planned in tree["planned"]:
                made.keep_planned(planned)
            made.exams = tree["exams"] or made.exams
            made.machine = tree["machine"]
        return made

    def keep(self, one: Measured, *, peaks: bool = False) -> None:
        """In the place of an earlier measurement of the same."""
        place(self.peaks if peaks else self.compared, one, lambda other: other.key)

    def keep_limit(self, one: Limit) -> None:
        place(self.limits, one, lambda other: other.key)

    def keep_planned(self, one: dict[str, Any]) -> None:
        place(self.planned, one, lambda other: other["name"])

    def write(self, path: Path) -> None:
        tree = {
            "machine": self.machine,
            "compared": [one.as_json() for one in self.compared],
            "peaks": [one.as_json() for one in self.peaks],
            "limits": [one.as_json() for one in self.limits],
            "planned": self.planned,
            "exams": self.exams,
        }
        write_text(path, json.dumps(tree, indent=2) + "\n")

    def tables(self) -> dict[str, str]:
        """Markdown by name, of what was measured."""
        found = {}
        for kind in KINDS:
            own = [one for one in self.compared if one.kind == kind and one.sides[1:]]
            if own:
                found[kind] = tables.compared(own)
        trained = {one.key: one for one in (*self.compared, *self.peaks) if one.kind in STEPPED}
        if with_peers := [one for one in trained.values() if one.sides[1:]]:
            found["memory"] = tables.memory(with_peers)
        if self.planned:
            found["plan"] = tables.estimates(self.planned)
        if self.limits:
            found["limit"] = tables.limits(self.limits, self.compared)
        if self.exams:
            found["evaluation"] = evaluation.table(self.exams)
        return found

    def faults(self) -> list[str]:
        """Comparisons whose sides did not do the same work, or whose times tell nothing."""
        untold = [
            f"{one.kind} {one.size} {one.backend}: {why}"
            for one in self.compared
            if (why := one.untold())
        ]
        return untold + [
            f"{one.kind} {one.size} {one.backend}, {peer}: not the same work: "
            f"{'; '.join(proof.lines)}"
            for one in (*self.compared, *self.peaks)
            for peer in one.sides[1:]
            if not (proof := one.proof(peer)).equal
        ]


def place(kept: list[Kept], one: Kept, key: Callable[[Kept], Any]) -> None:
    """Among `kept`, or instead of the one with the same key."""
    for number, other in enumerate(kept):
        if key(other) == key(one):
            kept[number] = one
            return
    kept.append(one)

"""All that was measured, in one call or several: as JSON, as tables, and what is wrong with it."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from mindprint.disk.whole import write_text
from timing import evaluation, tables
from timing.comparisons import KINDS
from timing.limits import Limit
from timing.measured import STEPPED, Measured

NAMES = (*KINDS, "memory", "limit", "evaluation")
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
    tell a time; `exams`: of the evaluation."""

    compared: list[Measured] = field(default_factory=list)
    peaks: list[Measured] = field(default_factory=list)
    limits: list[Limit] = field(default_factory=list)
    exams: list[dict[str, Any]] = field(default_factory=list)
    machine: dict[str, Any] = field(default_factory=machine)

    @classmethod
    def read(cls, files: Sequence[Path]) -> Self:
        """Later files replace what earlier ones hold of the same work."""
        compared: dict[tuple[str, ...], Measured] = {}
        peaks: dict[tuple[str, ...], Measured] = {}
        limits: dict[tuple[str, ...], Limit] = {}
        made = cls()
        for path in files:
            tree = json.loads(path.read_text("utf-8"))
            compared |= {one.key: one for one in map(Measured.from_json, tree["compared"])}
            peaks |= {one.key: one for one in map(Measured.from_json, tree["peaks"])}
            limits |= {one.key: one for one in map(Limit.from_json, tree["limits"])}
            made.exams = tree["exams"] or made.exams
            made.machine = tree["machine"]
        made.compared, made.peaks = list(compared.values()), list(peaks.values())
        made.limits = list(limits.values())
        return made

    def write(self, path: Path) -> None:
        tree = {
            "machine": self.machine,
            "compared": [one.as_json() for one in self.compared],
            "peaks": [one.as_json() for one in self.peaks],
            "limits": [one.as_json() for one in self.limits],
            "exams": self.exams,
        }
        write_text(path, json.dumps(tree, indent=2) + "\n")

    def tables(self) -> dict[str, str]:
        """Markdown by name, of what was measured."""
        found = {}
        for kind in KINDS:
            if own := [one for one in self.compared if one.kind == kind]:
                found[kind] = tables.compared(own)
        if trained := self.peaks or [one for one in self.compared if one.kind in STEPPED]:
            found["memory"] = tables.memory(trained)
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

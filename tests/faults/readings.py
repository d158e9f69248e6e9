"""Malformed curricula read as `mindprint check` reads them, and how each reading ended."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path

from mindprint.errors import Exit
from tests.faults.malformed import MOST_CALLS, judge, make

COUNT = 200
LOADS = "loads"
REFUSED = "faults with their file, exit 65"
WRONG = "WRONG"


def table(work: Path, count: int = COUNT) -> list[tuple[int, str, str]]:
    """(seed, what was broken, outcome) of curricula made from the seeds 0 to `count`."""
    made = []
    for seed in range(count):
        root = work / str(seed)
        shutil.rmtree(root, ignore_errors=True)
        kinds = ", ".join(make(root, seed))
        made.append((seed, kinds, _outcome(root)))
    return made


def summary(rows: Sequence[tuple[int, str, str]]) -> str:
    """How many ended in each way."""
    outcomes = [outcome.splitlines()[0] for _, _, outcome in rows]
    counts = {outcome: outcomes.count(outcome) for outcome in sorted(set(outcomes))}
    lines = [f"| {outcome} | {count} |" for outcome, count in counts.items()]
    return "\n".join(["| outcome | curricula |", "|---|---:|", *lines])


def _outcome(root: Path) -> str:
    heard = StringIO()
    with redirect_stdout(heard), redirect_stderr(heard):
        verdict = judge(root)
    said = heard.getvalue()
    if "Traceback" in said:
        return f"{WRONG}: a traceback\n{said}"
    if verdict.calls >= MOST_CALLS:
        return f"{WRONG}: {verdict.calls:,} calls"
    if verdict.curriculum is not None:
        return LOADS if verdict.code == Exit.DONE else f"{WRONG}: loads, exit {verdict.code}"
    named = bool(verdict.faults) and all(fault.file and fault.what for fault in verdict.faults)
    if verdict.code == Exit.DATA and named:
        return REFUSED
    return f"{WRONG}: exit {verdict.code}\n{said}"

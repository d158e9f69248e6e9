#!/usr/bin/env python
"""MLX against PyTorch, and PyTorch's own loop against TRL's: the same 200 SFT and 100 DPO steps on
six architectures, with each kind of adapter, in float32. `python scripts/parity.py` exits with 1
when a bar is missed."""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

from side_by_side.architectures import KINDS, NAMES, Architecture, both_ways
from side_by_side.measured import BARS, Measured, measure
from side_by_side.table import check_place, place, table, told

from backends import available, engine
from backends.errors import BackendUnavailable
from mindprint.disk.whole import write_text

LEAST = 10
"""Steps below which nothing is learned that could differ."""


def main(words: Sequence[str] | None = None) -> int:
    given = arguments(words)
    try:
        versions = needed(given.without_trl)
    except BackendUnavailable as error:
        print(f"{error.what}\n  {error.hint}", file=sys.stderr)
        return 69
    models = [(name, kind) for kind in given.kinds for name in given.architectures]
    wanted = [made for name, kind in models for made in both_ways(name, kind)]
    rows = []
    for row in measured(wanted, given.steps, not given.without_trl, given.jobs):
        print(f"{row.title}: {row.seconds} s", file=sys.stderr)
        rows.append(row)
    print(table(rows))
    if given.json:
        write_text(given.json, json.dumps(tree(rows, given.steps, versions), indent=2) + "\n")
    if given.docs:
        place(given.docs, told(rows, given.steps, versions))
    missed = [f"{row.title}: {fault}" for row in rows for fault in row.missed]
    for fault in missed:
        print(f"missed: {fault}", file=sys.stderr)
    return 1 if missed else 0


def arguments(words: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--architectures", nargs="+", choices=NAMES, default=list(NAMES))
    parser.add_argument(
        "--kinds", nargs="+", choices=KINDS, default=list(KINDS), help="of adapter (default: all)"
    )
    parser.add_argument(
        "--steps", type=int, default=200, help="of SFT; of DPO half as many (default: 200)"
    )
    parser.add_argument("--json", type=Path, help="write all figures to this file")
    parser.add_argument("--docs", type=Path, help="rewrite the table of this document")
    parser.add_argument("--without-trl", action="store_true", help="MLX against PyTorch alone")
    parser.add_argument(
        "--jobs", type=int, default=min(2, os.cpu_count() or 1), help="models at one time"
    )
    given = parser.parse_args(words)
    if given.steps < LEAST:
        parser.error(f"--steps: {given.steps} is below {LEAST}")
    if given.jobs < 1:
        parser.error("--jobs: at least 1")
    if given.docs:
        try:
            check_place(given.docs)
        except ValueError as error:
            parser.error(f"--docs: {error}")
    return given


def needed(without_trl: bool) -> dict[str, str]:
    """Versions of all that is compared. Raises BackendUnavailable where something is missing."""
    versions: dict[str, str] = {}
    for name, found in available().items():
        if not found.ok:
            raise BackendUnavailable(f"{name} does not work here: {found.reason}", hint=found.hint)
        versions.update(found.versions)
    return versions if without_trl else {**versions, **engine("trl").availability().versions}


def measured(
    wanted: Sequence[Architecture], steps: int, with_trl: bool, jobs: int
) -> Iterator[Measured]:
    """In the order asked for; each model in a process of its own where there are several jobs."""
    if jobs == 1:
        yield from (measure(made, steps, with_trl) for made in wanted)
        return
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(jobs, mp_context=spawn) as pool:
        waiting = [pool.submit(measure, made, steps, with_trl) for made in wanted]
        yield from (one.result() for one in waiting)


def tree(rows: Sequence[Measured], steps: int, versions: dict[str, str]) -> dict[str, Any]:
    return {
        "sft_steps": steps,
        "dpo_steps": steps // 2,
        "versions": versions,
        "bars": {bar.key: bar.value for bar in BARS},
        "models": [row.as_json() for row in rows],
    }


if __name__ == "__main__":
    sys.exit(main())

#!/usr/bin/env python
"""Faults put into whole runs, and what became of them: `python scripts/torture.py kills`.

`kills`: kill -9 at seeded moments, each run resumed and compared with an undisturbed one. `damage`:
every file of a run folder damaged in four ways. `curricula`: malformed curricula. `all`: the three.
Kills that were made under `--work` are not made again.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["MINDPRINT_CACHE"] = ""  # what is to be killed must be computed


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=["kills", "damage", "curricula", "all"])
    parser.add_argument("--work", type=Path, required=True, help="folder for runs and papers")
    parser.add_argument("--backend", action="append", choices=["torch", "mlx"])
    parser.add_argument("--count", type=int, default=40, help="kills a backend")
    parser.add_argument("--only", action="append", default=[], help="a moment, as in shots.py")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=1, help="processes at a time")
    parser.add_argument("--write", type=Path, help="a page to put the tables into")
    return parser.parse_args()


def kills(asked: argparse.Namespace) -> bool:
    from tests.faults.ground import BACKENDS
    from tests.faults.kills import Campaign, tasks
    from tests.faults.tables import kills_table

    wanted = tasks(asked.backend or BACKENDS, asked.count, asked.only)
    made = Campaign(asked.work / "kills", asked.seed, say=tell).run(wanted, asked.jobs)
    show(asked, "kills", kills_table(made), [vars(kill) for kill in made])
    return all(kill.sound for kill in made)


def damage(asked: argparse.Namespace) -> bool:
    from tests.faults.damage import stopped_run, table
    from tests.faults.tables import damage_table

    work = asked.work / "damage"
    shutil.rmtree(work, ignore_errors=True)
    rows = table(stopped_run(work / "ground"), work)
    show(asked, "damage", damage_table(rows), rows)
    return not any(outcome.startswith("WRONG") for _, _, outcome in rows)


def curricula(asked: argparse.Namespace) -> bool:
    from tests.faults.readings import WRONG, summary, table

    rows = table(asked.work / "curricula")
    print(summary(rows))
    keep(asked, "curricula", rows)
    return not any(outcome.startswith(WRONG) for _, _, outcome in rows)


def show(asked: argparse.Namespace, name: str, text: str, rows: object) -> None:
    from tests.faults.tables import paste

    print(text)
    keep(asked, name, rows)
    if asked.write is not None:
        paste(asked.write, name, text)


def keep(asked: argparse.Namespace, name: str, rows: object) -> None:
    """Everything that was found, for whoever wants to count again."""
    (asked.work / f"{name}.json").write_text(json.dumps(rows, indent=2), "utf-8")


def tell(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def main() -> int:
    asked = arguments()
    asked.work.mkdir(parents=True, exist_ok=True)
    chosen = {"kills": kills, "damage": damage, "curricula": curricula}
    names = list(chosen) if asked.what == "all" else [asked.what]
    return 0 if all([chosen[name](asked) for name in names]) else 1


if __name__ == "__main__":
    sys.exit(main())

#!/usr/bin/env python
"""mindprint and its peers side by side, on this machine: `python scripts/bench.py all`.

sft, dpo: a training step. prefix: DPO with a pair's prompt run once, and for each row. answers: 12
answers of 64 tokens. topic: SFT, quiz, DPO, quiz. memory: peaks of training, and plan: what
`mindprint plan` says beside them. limit: a step's share of what matrix products reach here.
evaluation: a topic's exam, batched and one by one. tables: of the JSON files that calls wrote.
A call goes on from what its --json file holds.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from timing import document
from timing.calls import Call, wanted
from timing.compare import Asked
from timing.comparisons import BACKENDS, DEVICES, INSTALL, KINDS, missing
from timing.models import SHAPES
from timing.process import WorkerFailed
from timing.results import NAMES, Results, machine

from backends import available

SIZES = {"cpu": ("small", "large"), "gpu": ("0.5b", "7b")}


def main(words: Sequence[str] | None = None) -> int:
    """0; 1 where two sides did not do the same work, or one failed; 69 where something that it
    takes is not here."""
    given = arguments(words)
    try:
        results = Results.read(given.files) if given.what == "tables" else None
        if results is None:
            if lacking := unmet(given):
                print(lacking, file=sys.stderr)
                return 69
            results = measured(given)
    except (WorkerFailed, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return told(results, given)


def told(results: Results, given: argparse.Namespace) -> int:
    """Where the results were asked for; 1 where they do not stand for equal work."""
    if given.json:
        results.write(given.json)
    tables = results.tables()
    if given.markdown or not given.json:
        print("\n\n".join(f"**{name}**\n\n{table}" for name, table in tables.items()))
    if given.docs:
        document.place(given.docs, tables)
    faults = results.faults()
    for fault in faults:
        print(fault, file=sys.stderr)
    return 1 if faults else 0


def arguments(words: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=(*KINDS, *NAMES[len(KINDS) :], "all", "tables"))
    parser.add_argument(
        "files", nargs="*", type=Path, help="for tables: JSON files, later ones win"
    )
    parser.add_argument("--size", action="append", choices=tuple(SHAPES))
    parser.add_argument("--backend", action="append", choices=BACKENDS)
    parser.add_argument("--repeats", type=int, help="default: 5 for the small model, else 2")
    parser.add_argument("--steps", type=int, nargs=2, metavar=("FEW", "MANY"))
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", choices=("cpu", "cuda", "mps", "gpu"), default="cpu")
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument(
        "--order", choices=("buckets", "file"), default="buckets", help="of mindprint's own rows"
    )
    folder = Path(tempfile.gettempdir()) / "mindprint-bench"
    parser.add_argument("--models", type=Path, default=folder, help=f"default: {folder}")
    parser.add_argument("--json", type=Path, help="read it, add to it what it does not hold yet")
    parser.add_argument("--again", action="store_true", help="measure what it holds anew")
    parser.add_argument("--markdown", action="store_true", help="print the tables as well")
    parser.add_argument("--docs", type=Path, help="put the tables in their places there")
    given = parser.parse_args(words)
    checked(given, parser)
    return given


def checked(given: argparse.Namespace, parser: argparse.ArgumentParser) -> None:
    """Ends with 2 where the words do not fit together; fills in what was left open."""
    if bool(given.files) != (given.what == "tables"):
        parser.error("`tables` takes the JSON files of earlier calls, nothing else does")
    if given.repeats is not None and given.repeats < 1:
        parser.error("--repeats: at least 1")
    if given.docs:
        try:
            document.check(given.docs, NAMES)
        except ValueError as error:
            parser.error(f"--docs: {error}")
    given.backend = given.backend or [name for name in BACKENDS if given.device in DEVICES[name]]
    for name in given.backend:
        if given.device not in DEVICES[name]:
            parser.error(f"--device: {name} has {', '.join(DEVICES[name])}, not {given.device}")
    given.size = given.size or list(SIZES["cpu" if given.device == "cpu" else "gpu"])


def unmet(given: argparse.Namespace) -> str:
    """What is not here that the call takes, and how to get it; nothing is measured then."""
    found = available()
    for name in given.backend:
        if not found[name].ok:
            return f"not run: {name} does not work here: {found[name].reason}\n{found[name].hint}"
        if given.device not in found[name].devices:
            return f"not run: {name} has no {given.device} here"
    if lacking := missing(wanted(given.what, given.backend)):
        return f"not run: {', '.join(lacking)} missing; install: {INSTALL}"
    return ""


def measured(given: argparse.Namespace) -> Results:
    """Raises WorkerFailed, and ValueError for step counts that tell nothing."""
    results = Results()
    if given.json and given.json.is_file():
        results = Results.read([given.json])
        results.machine = machine()
    with tempfile.TemporaryDirectory(prefix="mindprint-bench-") as work:
        asked = Asked(
            models=given.models.resolve(),
            work=Path(work),
            threads=given.threads,
            device=given.device,
            dtype=given.dtype,
            order=given.order,
            steps=tuple(given.steps) if given.steps else None,
        )
        call = Call(
            what=given.what,
            sizes=given.size,
            backends=given.backend,
            asked=asked,
            results=results,
            repeats=given.repeats,
            file=given.json,
            again=given.again,
        )
        call.run()
    return results


if __name__ == "__main__":
    sys.exit(main())

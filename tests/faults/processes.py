"""Command lines run in processes of their own, some of them to be killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tests.faults.shots import Shot, Survey

ROOT = Path(__file__).parents[2]
LONGEST = 900
"""Seconds after which a process counts as hanging."""

Launch = Callable[[Path], int]
"""Runs the worker on an order file and returns its exit status, below 0 for a signal."""


@dataclass(frozen=True)
class Ended:
    """How a process ended. `note`: what it wrote before it was killed, {} if it was not."""

    code: int
    out: str
    err: str
    note: dict[str, Any]

    @property
    def killed(self) -> bool:
        return self.code == -signal.SIGKILL and bool(self.note)


def launch(order: Path) -> int:
    """A process from nothing, as a user starts it."""
    words = [sys.executable, "-m", "tests.faults.worker", str(order)]
    made = subprocess.run(words, cwd=ROOT, env=environment(), timeout=LONGEST, check=False)
    return made.returncode


def start(
    words: Sequence[str],
    backend: str,
    beside: Path,
    shot: Shot | None = None,
    *,
    survey: bool = False,
    launch: Launch = launch,
) -> Ended:
    """Run `mindprint WORDS` to its end or death. Papers lie at `beside` with a suffix each."""
    beside.parent.mkdir(parents=True, exist_ok=True)
    papers = {kind: beside.with_suffix(f".{kind}") for kind in ("order", "note", "out", "err")}
    papers["note"].unlink(missing_ok=True)
    tree = {
        "words": list(words),
        "backend": backend,
        "shot": asdict(shot) if shot else None,
        "survey": str(beside.with_suffix(".survey")) if survey else "",
        **{kind: str(papers[kind]) for kind in ("note", "out", "err")},
    }
    papers["order"].write_text(json.dumps(tree), "utf-8")
    code = launch(papers["order"])
    told = json.loads(papers["note"].read_text("utf-8")) if papers["note"].is_file() else {}
    out, err = (papers[kind].read_text("utf-8", "replace") for kind in ("out", "err"))
    return Ended(code, out, err, told)


def surveyed(beside: Path) -> Survey:
    return Survey.of(json.loads(beside.with_suffix(".survey").read_text("utf-8")))


def environment() -> dict[str, str]:
    """One thread, no network: what two runs must share to give the same bytes."""
    one = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    quiet = {"HF_HUB_OFFLINE": "1", "HF_HUB_DISABLE_TELEMETRY": "1", "NO_COLOR": "1"}
    return {**os.environ, **one, **quiet, "TOKENIZERS_PARALLELISM": "false"}

"""A worker in a process of its own, timed from outside."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from timing.protocol import Outcome, Spec

SCRIPTS = Path(__file__).resolve().parents[1]
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")
TOLD = 3_000
"""Characters of a failed worker's own words that are passed on."""


class WorkerFailed(Exception):
    """A side ended with an error, or said nothing that can be read."""


@dataclass(frozen=True)
class Timed:
    """Seconds of the whole process, start-up included, and what it said."""

    seconds: float
    outcome: Outcome


def timed(side: str, spec: Spec) -> Timed:
    """Run `timing.sides.SIDE` on `spec`, whose `work` is made if missing. Raises WorkerFailed."""
    work = Path(spec.work)
    work.mkdir(parents=True, exist_ok=True)
    path = spec.write(work / "spec.json")
    command = [sys.executable, "-m", f"timing.sides.{side}", str(path)]
    began = time.perf_counter()
    done = subprocess.run(
        command, capture_output=True, text=True, env=environment(spec), check=False
    )
    seconds = time.perf_counter() - began
    if done.returncode:
        raise WorkerFailed(f"{side} ended with {done.returncode}:\n{done.stderr[-TOLD:]}")
    try:
        return Timed(seconds, Outcome.heard(done.stdout))
    except ValueError as error:
        raise WorkerFailed(f"{side}: {error}; it said:\n{done.stdout[-TOLD:]}") from error


def environment(spec: Spec) -> dict[str, str]:
    """The same for every side: threads, no network, no cache left by an earlier run.

    On the CPU MLX's compiler would call g++ while the clock runs: off on both sides.
    """
    found = {**os.environ, **dict.fromkeys(THREADS, str(spec.threads))}
    paths = [str(SCRIPTS), str(SCRIPTS.parent), os.environ.get("PYTHONPATH", "")]
    return {
        **found,
        "PYTHONPATH": os.pathsep.join(filter(None, paths)),
        "HF_HUB_OFFLINE": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_DATASETS_CACHE": str(Path(spec.work) / "datasets"),
        "TOKENIZERS_PARALLELISM": "false",
        **({"MLX_DISABLE_COMPILE": "1"} if spec.device == "cpu" else {}),
    }

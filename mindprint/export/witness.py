"""Witnesses of an export: the libraries of others, each in a fresh process, asked the same."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from importlib import metadata
from pathlib import Path

import backends
from backends.contract import Availability
from backends.libraries import is_installed
from backends.witnessing import NOT_HERE, Framework, Job, Seen
from mindprint.errors import Exit, MindprintError

__all__ = [
    "LIBRARIES",
    "NOT_HERE",
    "Framework",
    "Job",
    "NotHere",
    "Seen",
    "WitnessFailed",
    "installed",
    "last_lines",
    "run",
    "witness",
]

LIBRARIES: dict[Framework, tuple[str, ...]] = {
    "transformers": ("torch", "transformers"),
    "peft": ("torch", "transformers", "peft"),
    "mlx-lm": ("mlx", "mlx-lm"),
}
_MODULES = {
    "transformers": "backends.torch.witness",
    "peft": "backends.torch.witness",
    "mlx-lm": "backends.mlx.witness",
}
_EXTRA = {"transformers": "torch", "peft": "torch", "mlx-lm": "mlx"}
_OFFLINE = {
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "TRANSFORMERS_VERBOSITY": "error",
    "TOKENIZERS_PARALLELISM": "false",
}
LAST_LINES = 3


class WitnessFailed(MindprintError):
    """A library did not open what was exported, or not to the end."""

    exit = Exit.GATE


class NotHere(MindprintError):
    """A library is installed and does not load."""

    exit = Exit.UNAVAILABLE


def installed() -> dict[Framework, Availability]:
    """Which libraries could be asked, after their packages' metadata; none is imported."""
    found: dict[Framework, Availability] = {}
    for framework, libraries in LIBRARIES.items():
        missing = [name for name in libraries if not is_installed(name)]
        hint = f'pip install "mindprint[{_EXTRA[framework]}]"' if missing else ""
        versions = {name: metadata.version(name) for name in libraries if name not in missing}
        why = f"not installed: {', '.join(missing)}" if missing else "installed"
        found[framework] = Availability(not missing, why, hint=hint, versions=versions)
    return found


def witness(job: Job) -> Seen:
    """What a library makes of `job`, in a process of its own that imports nothing of mindprint's.

    Raises WitnessFailed with the process's last lines, and NotHere where the library does not load.
    """
    with tempfile.TemporaryDirectory(prefix="mindprint-witness-") as place:
        asked, answered = Path(place) / "job.json", Path(place) / "seen.npz"
        job.write(asked)
        done = run(_MODULES[job.framework], asked, answered)
        if done.returncode == NOT_HERE:
            raise NotHere(f"{job.framework} does not load: {last_lines(done)}")
        if done.returncode or not answered.is_file():
            raise WitnessFailed(
                f"plain {job.framework} does not open it: {last_lines(done)}",
                where=str(job.adapter or job.folder),
            )
        return Seen.read(answered)


def run(module: str, *arguments: Path | str) -> subprocess.CompletedProcess[str]:
    """A module of `backends` in a fresh Python, off the network, its output kept."""
    root = str(Path(backends.__file__).parents[1])
    paths = os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH", ""))))
    environment = {**os.environ, **_OFFLINE, "PYTHONPATH": paths}
    command = [sys.executable, "-P", "-m", module, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, env=environment, check=False)


def last_lines(done: subprocess.CompletedProcess[str]) -> str:
    """How a process ended, and the last that it said, on one line."""
    said = [line.strip() for line in done.stderr.splitlines() if line.strip()][-LAST_LINES:]
    ended = f"killed by signal {-done.returncode}" if done.returncode < 0 else ""
    return "; ".join(filter(None, [ended, *said])) or f"exit code {done.returncode}"

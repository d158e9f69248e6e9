"""What this machine is, and what each backend says of itself when asked to compute."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import backends
from backends.contract import Availability
from mindprint.hardware import processor

PROBE_SECONDS = 300


@dataclass(frozen=True)
class Machine:
    """`memory` and `free` in bytes."""

    system: str
    processor: str
    cores: int
    memory: int
    free: int


def machine() -> Machine:
    import psutil

    memory = psutil.virtual_memory()
    return Machine(
        system=f"{platform.system()} {platform.release()} {platform.machine()}",
        processor=processor(),
        cores=os.cpu_count() or 1,
        memory=int(memory.total),
        free=int(memory.available),
    )


def probe(backend: str, device: str, model: Path) -> list[dict[str, Any]]:
    """The device's checks, run in a process of their own: a crash or a hang is a finding too."""
    root = str(Path(backends.__file__).parents[1])
    paths = os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH", ""))))
    # PyTorch would silently fall back to the CPU for what Metal lacks; the probe wants the device.
    environment = {**os.environ, "PYTHONPATH": paths, "PYTORCH_ENABLE_MPS_FALLBACK": "0"}
    command = [sys.executable, "-P", "-m", "backends.probe", backend, device, str(model)]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, env=environment, timeout=PROBE_SECONDS
        )
    except subprocess.TimeoutExpired:
        return [_failed(f"no answer in {PROBE_SECONDS} s")]
    try:
        checks: list[dict[str, Any]] = json.loads(done.stdout.strip().splitlines()[-1])
    except (ValueError, IndexError):
        return [_failed(_last_words(done))]
    return checks


def _failed(detail: str) -> dict[str, Any]:
    return {"name": "probe", "ok": False, "detail": detail}


def _last_words(done: subprocess.CompletedProcess[str]) -> str:
    said = done.stderr.strip().splitlines()
    ended = f"killed by signal {-done.returncode}" if done.returncode < 0 else "failed"
    return f"{ended}: {said[-1]}" if said else ended


def described(found: Availability) -> dict[str, Any]:
    return {**asdict(found), "versions": dict(found.versions), "devices": list(found.devices)}

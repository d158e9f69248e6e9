"""Step checkpoints of the stage in progress: everything trained, and where the loop stood."""

from __future__ import annotations

import shutil
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file

from backends.contract import Arrays, Params
from mindprint.disk.sealed import read_json, write_json
from mindprint.disk.whole import write_folder
from mindprint.errors import StageError
from mindprint.rundir import RunDir

KEPT = 2


@dataclass
class Progress:
    """How far a stage has come. `curve` and `margins` hold (step, value), steps from 1."""

    step: int = 0
    tokens: int = 0
    seconds: float = 0.0
    skipped: int = 0
    curve: list[tuple[int, float]] = field(default_factory=list)
    margins: list[tuple[int, float]] = field(default_factory=list)
    held_out: list[tuple[int, float]] = field(default_factory=list)
    kept_epoch: int | None = None
    batch_size: int = 0
    stopped: str = ""


@dataclass
class Held:
    """Adapter tensors kept aside: `good`, the last known to be sound; `best`, by held-out loss."""

    good: Params
    best: Params | None = None


class Checkpoints:
    """Writes and finds the checkpoints of one stage; the newest two are kept."""

    def __init__(self, run: RunDir, topic: str, stage: str, attempt: int) -> None:
        self._root = run.checkpoints
        self._key = {"topic": topic, "stage": stage, "attempt": attempt}

    def save(self, progress: Progress, adapter: Params, optimizer: Arrays, held: Held) -> None:
        groups: dict[str, Arrays | Params] = {
            "adapter": adapter,
            "optimizer": optimizer,
            "good": held.good,
            "best": held.best or {},
        }
        flat: dict[str, NDArray[Any]] = {
            f"{group}/{name}": np.ascontiguousarray(array)
            for group, arrays in groups.items()
            for name, array in arrays.items()
        }

        def fill(folder: Path) -> None:
            save_file(flat, folder / "arrays.safetensors")
            write_json(folder / "state.json", {**self._key, "progress": asdict(progress)})

        write_folder(self._root / f"step-{progress.step:06d}", fill)
        own = [folder for folder in self._folders() if self._is_own(folder)]
        for folder in self._folders():
            if folder not in own[-KEPT:]:
                shutil.rmtree(folder)

    def latest(self) -> tuple[Progress, Params, Arrays, Held] | None:
        """The newest checkpoint of this very stage, or None."""
        for folder in reversed(self._folders()):
            if self._is_own(folder):
                return self._read(folder, read_json(folder / "state.json")["progress"])
        return None

    def clear(self) -> None:
        if self._root.exists():
            shutil.rmtree(self._root)

    def _is_own(self, folder: Path) -> bool:
        """Whether a checkpoint is of this stage, and not left over from another."""
        state = read_json(folder / "state.json")
        return {name: state.get(name) for name in self._key} == self._key

    def _folders(self) -> list[Path]:
        return sorted(self._root.glob("step-*")) if self._root.exists() else []

    def _read(self, folder: Path, fields: dict[str, Any]) -> tuple[Progress, Params, Arrays, Held]:
        groups: dict[str, dict[str, NDArray[Any]]] = {
            "adapter": {},
            "optimizer": {},
            "good": {},
            "best": {},
        }
        for name, array in load_file(folder / "arrays.safetensors").items():
            group, _, rest = name.partition("/")
            if group not in groups:
                raise StageError(f"unknown array `{name}`", where=str(folder))
            groups[group][rest] = array
        progress = Progress(**fields)
        progress.curve = [(step, loss) for step, loss in fields["curve"]]
        progress.margins = [(step, margin) for step, margin in fields["margins"]]
        progress.held_out = [(epoch, loss) for epoch, loss in fields["held_out"]]
        held = Held(good=groups["good"], best=groups["best"] or None)
        return progress, groups["adapter"], groups["optimizer"], held

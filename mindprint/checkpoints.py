"""Step checkpoints of the stage in progress: everything trained, and where the loop stood."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from backends.contract import Arrays, Params
from mindprint.disk.sealed import Damaged, file_hash, read_json, write_json
from mindprint.disk.whole import remove_folder, write_folder
from mindprint.errors import StageError
from mindprint.rundir import RunDir

KEPT = 2
STATE, ARRAYS = "state.json", "arrays.safetensors"
GROUPS = ("adapter", "optimizer", "good", "best")
_NAME = re.compile(r"(\d{6,})-step-(\d{6,})")

Tell = Callable[[str], None]


@dataclass
class Progress:
    """How far a stage has come. `curve`, `margins` and `penalties` hold (step, value), steps
    from 1; the last where an LS-LoRA's is not 0.

    `checked`: the last step whose held-out loss and watch were seen to. `faults`: losses and
    gradients that were not finite; `rate`: the factor on the learning rate; `watched`: the watch's
    figures as the stage began; `failed`: why the topic is given up.
    """

    step: int = 0
    checked: int = 0
    tokens: int = 0
    seconds: float = 0.0
    skipped: int = 0
    faults: int = 0
    rate: float = 1.0
    curve: list[tuple[int, float]] = field(default_factory=list)
    margins: list[tuple[int, float]] = field(default_factory=list)
    penalties: list[tuple[int, float]] = field(default_factory=list)
    held_out: list[tuple[int, float]] = field(default_factory=list)
    kept_epoch: int | None = None
    batch_size: int = 0
    watched: tuple[float, float] | None = None
    stopped: str = ""
    failed: str = ""


@dataclass
class Held:
    """Adapter tensors kept aside: `good`, the last known to be sound; `best`, by held-out loss."""

    good: Params
    best: Params | None = None


@dataclass(frozen=True)
class Checkpoint:
    """One as it was read, every byte vouched for."""

    folder: Path
    progress: Progress
    adapter: Params
    optimizer: Arrays
    held: Held


@dataclass(frozen=True)
class UnderWay:
    """The stage that a checkpoint is of, and how far it is there."""

    topic: str
    stage: str
    attempt: int
    progress: Progress


def under_way(run: RunDir) -> UnderWay | None:
    """The stage that the newest whole checkpoint is of, its tensors unread; None where there is no
    such checkpoint."""
    for folder in reversed(_folders(run.checkpoints)):
        try:
            state = read_json(folder / STATE)
            attempt, progress = int(state["attempt"]), _progress(state["progress"])
            return UnderWay(str(state["topic"]), str(state["stage"]), attempt, progress)
        except (Damaged, KeyError, TypeError, ValueError):
            continue  # an older one may be whole
    return None


class Checkpoints:
    """Writes and finds the checkpoints of one stage. Each gets a number of its own, so that none
    is ever overwritten; the newest two are kept, and the newest of the regular ones."""

    def __init__(self, run: RunDir, topic: str, stage: str, attempt: int) -> None:
        self._root = run.checkpoints
        self._key = {"topic": topic, "stage": stage, "attempt": attempt}

    def save(
        self,
        progress: Progress,
        adapter: Params,
        optimizer: Arrays,
        held: Held,
        *,
        regular: bool,
    ) -> str:
        """`regular`: written where every run of this stage writes one, and not because it was
        stopped there. Returns the name of a tensor that is not finite, nothing being written then.
        Raises NoRoom, what is there staying whole."""
        flat = _flat(adapter, optimizer, held)
        if odd := not_finite(flat):
            return odd
        number = 1 + max((_numbers(folder)[0] for folder in self._folders()), default=0)

        def fill(folder: Path) -> None:
            save_file(flat, folder / ARRAYS)
            files = {ARRAYS: file_hash(folder / ARRAYS)}
            state = {**self._key, "regular": regular, "progress": asdict(progress), "files": files}
            write_json(folder / STATE, state)

        size = sum(array.nbytes for array in flat.values())
        write_folder(self._root / f"{number:06d}-step-{progress.step:06d}", fill, size)
        self._prune()
        return ""

    def latest(self, tell: Tell, *, regular: bool = False) -> Checkpoint | None:
        """The newest whole checkpoint of this very stage, or of its regular ones; None where there
        is none. `tell` hears of those that are damaged."""
        found: Checkpoint | None = None
        damaged: list[str] = []
        for folder in reversed(self._folders()):
            try:
                state = self._own(folder)
                if state is None or (regular and not state.get("regular")):
                    continue
                found = _read(folder, state)
                break
            except Damaged as error:
                damaged.append(f"of step {_numbers(folder)[1]} is damaged ({error.what})")
        if damaged:
            then = "the stage begins anew"
            if found is not None:
                then = f"going on from step {found.progress.step}"
            tell(f"the checkpoint {', and the one '.join(damaged)}: {then}")
        return found

    def clear(self) -> None:
        """The stage is finished: all that is here goes, leftovers too."""
        remove_folder(self._root)

    def clear_own(self) -> None:
        """The stage was finished earlier: what is here may be of the one in progress, and stays."""
        for folder in self._folders():
            try:
                if self._own(folder) is not None:
                    remove_folder(folder)
            except Damaged:
                continue  # told, and removed, by the stage that looks for its own

    def _prune(self) -> None:
        """What is of another stage, or is no longer whole enough to say of which, goes too."""
        own: list[tuple[Path, bool]] = []
        for folder in self._folders():
            try:
                state = self._own(folder)
            except Damaged:
                continue
            if state is not None:
                own.append((folder, bool(state.get("regular"))))
        kept = {folder for folder, _ in own[-KEPT:]}
        kept |= {folder for folder, regular in [one for one in own if one[1]][-1:]}
        for folder in self._folders():
            if folder not in kept:
                remove_folder(folder)

    def _own(self, folder: Path) -> dict[str, Any] | None:
        """The state of a checkpoint of this stage; None where it is left over from another.
        Raises Damaged."""
        state = read_json(folder / STATE)
        return state if {name: state.get(name) for name in self._key} == self._key else None

    def _folders(self) -> list[Path]:
        """By their numbers, the newest last."""
        return _folders(self._root)


def _folders(root: Path) -> list[Path]:
    if not root.exists():
        return []
    return sorted((one for one in root.iterdir() if _NAME.fullmatch(one.name)), key=_numbers)


def check_fits(found: Checkpoint, adapter: Mapping[str, tuple[int, ...]], state: Arrays) -> None:
    """Whether a checkpoint is of exactly the tensors that train now: `adapter` by name and shape,
    `state` the optimizer's. Raises StageError naming what is missing, extra or of another shape."""
    wanted = {f"optimizer/{name}": array.shape for name, array in state.items()}
    groups = ("adapter", "good", *(("best",) if found.held.best is not None else ()))
    for group in groups:
        wanted |= {f"{group}/{name}": tuple(shape) for name, shape in adapter.items()}
    flat = _flat(found.adapter, found.optimizer, found.held)
    has = {name: array.shape for name, array in flat.items()}
    shaped = [name for name in wanted if name in has and has[name] != wanted[name]]
    told = (
        _listed("missing", sorted(wanted.keys() - has.keys())),
        _listed("extra", sorted(has.keys() - wanted.keys())),
        _listed("of another shape", sorted(shaped)),
    )
    if any(told):
        raise StageError(
            f"the checkpoint is not of the tensors that train now: {'; '.join(filter(None, told))}",
            where=str(found.folder / ARRAYS),
            hint="it was made by another adapter, backend or version: go on with what made it, or "
            f"remove {found.folder.parent} and the stage begins anew",
        )


def not_finite(arrays: Mapping[str, NDArray[Any]]) -> str:
    """Name of an array that holds a value that is not finite, or nothing."""
    for name, array in arrays.items():
        if np.issubdtype(array.dtype, np.floating) and not np.isfinite(array).all():
            return name
    return ""


def _listed(kind: str, names: list[str]) -> str:
    if not names:
        return ""
    shown = ", ".join(f"`{name}`" for name in names[:5]) + (", ..." if len(names) > 5 else "")
    return f"{len(names)} {kind}: {shown}"


def _flat(adapter: Params, optimizer: Arrays, held: Held) -> dict[str, NDArray[Any]]:
    groups: tuple[Mapping[str, NDArray[Any]], ...] = (
        adapter,
        optimizer,
        held.good,
        held.best or {},
    )
    return {
        f"{group}/{name}": np.asarray(array, order="C")
        for group, arrays in zip(GROUPS, groups, strict=True)
        for name, array in arrays.items()
    }


def _read(folder: Path, state: Mapping[str, Any]) -> Checkpoint:
    """Raises Damaged."""
    where = folder / ARRAYS
    try:
        if file_hash(where) != state["files"][ARRAYS]:
            raise Damaged(where, f"its hash is not the one in {STATE}")
        arrays = load_file(where)
        progress = _progress(state["progress"])
    except FileNotFoundError as error:
        raise Damaged(where, "it is missing") from error
    except (OSError, SafetensorError) as error:
        raise Damaged(where, f"it cannot be read: {error}") from error
    except (KeyError, TypeError, ValueError) as error:
        raise Damaged(folder / STATE, "it is no state of a stage") from error
    groups: dict[str, dict[str, NDArray[Any]]] = {group: {} for group in GROUPS}
    for name, array in arrays.items():
        group, _, rest = name.partition("/")
        if group not in groups:
            raise Damaged(where, f"it holds an unknown array `{name}`")
        groups[group][rest] = array
    held = Held(good=groups["good"], best=groups["best"] or None)
    return Checkpoint(folder, progress, groups["adapter"], groups["optimizer"], held)


def _progress(tree: Mapping[str, Any]) -> Progress:
    """Raises TypeError or ValueError for anything but exactly the fields there are."""
    if tree.keys() != {known.name for known in fields(Progress)}:
        raise ValueError("the fields are not those of a stage's progress")
    progress = Progress(**tree)
    for name in ("curve", "margins", "penalties", "held_out"):
        setattr(progress, name, [(int(place), float(value)) for place, value in tree[name]])
    if progress.watched is not None:
        chosen, ends = progress.watched
        progress.watched = (float(chosen), float(ends))
    return progress


def _numbers(folder: Path) -> tuple[int, int]:
    """A checkpoint's number and step, by its name."""
    named = _NAME.fullmatch(folder.name)
    if named is None:
        raise ValueError(f"`{folder.name}` is no checkpoint's name")
    return int(named[1]), int(named[2])

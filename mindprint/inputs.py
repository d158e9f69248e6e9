"""What a run was started with, kept in its folder so that `resume` and `chat` need nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from mindprint.curriculum.records import Curriculum
from mindprint.disk.sealed import read_json, write_json
from mindprint.errors import ConfigError
from mindprint.rundir import RunDir

FILE = "inputs.json"


@dataclass(frozen=True)
class Inputs:
    """`model` is a hub id or a folder, `called` what reports call it; folders are absolute.

    `hashes`: SHA-256 of each of the curriculum's files; `system`: its system prompt.
    """

    curriculum: Path
    model: str
    called: str
    backend: str
    device: str
    topics: tuple[str, ...]
    system: str
    hashes: Mapping[str, str]


def write_inputs(run: RunDir, inputs: Inputs) -> None:
    tree = {**vars(inputs), "curriculum": str(inputs.curriculum), "hashes": dict(inputs.hashes)}
    write_json(run.path / FILE, tree)


def read_inputs(path: Path) -> Inputs:
    """Raises ConfigError when `path` is not a run folder that can be gone on with."""
    if not (path / FILE).is_file():
        hint = "a run folder is what `mindprint train` wrote; `mindprint runs` lists those here"
        raise ConfigError(f"`{path}` is not a run folder", where=str(path / FILE), hint=hint)
    tree = read_json(path / FILE)
    try:
        return Inputs(
            curriculum=Path(tree["curriculum"]),
            model=str(tree["model"]),
            called=str(tree["called"]),
            backend=str(tree["backend"]),
            device=str(tree["device"]),
            topics=tuple(tree["topics"]),
            system=str(tree["system"]),
            hashes=dict(tree["hashes"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        where = str(path / FILE)
        raise ConfigError("not what a run was started with", where=where) from error


def absolute(model: str) -> str:
    """A folder's whole path; a hub id stays as it is."""
    folder = Path(model).expanduser()
    return str(folder.resolve()) if folder.is_dir() else model


def unchanged(curriculum: Curriculum, inputs: Inputs, run: Path) -> None:
    """Raises ConfigError when the curriculum is not the one that the run began with."""
    now, then = dict(curriculum.hashes), dict(inputs.hashes)
    changed = sorted(name for name in now.keys() | then.keys() if now.get(name) != then.get(name))
    if changed:
        more = f" and {len(changed) - 1} more" if len(changed) > 1 else ""
        raise ConfigError(
            f"the curriculum has changed since the run began: `{changed[0]}`{more}",
            where=str(run / FILE),
            hint="start a new run with `mindprint train`, or put the files back",
        )

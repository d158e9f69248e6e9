"""What a run was started with, kept in its folder so that `resume` and `chat` need nothing else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from mindprint.config import Config, Resolved, flatten, resolve
from mindprint.disk.sealed import Damaged, read_json, write_json
from mindprint.errors import ConfigError
from mindprint.rundir import MARKS

FILE = "inputs.json"


class Origin(BaseModel):
    """Where a forked run's past is from: the run's folder, the SHA-256 of its ledger's file, and
    the finished topics that were taken over."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    run: str
    ledger: str
    topics: tuple[str, ...]


@dataclass(frozen=True)
class Inputs:
    """`model` is a hub id or a folder, `called` what reports call it; folders are absolute.

    `device`: as it was asked for, `opened_on` the one that it became. `topics`: those of the run,
    in its order; `only`: what named them, () for all there are. `hashes`: SHA-256 of each of the
    curriculum's files; `system`: its system prompt. `config` and `origins`: every resolved value
    by dotted key, and where it came from. `model_id`, `tokenizer`: hashes over the model and over
    what turns text into its ids. `versions`: of the libraries that shape numbers. `dtype`: of the
    weights as opened; `threads`, `blas`: what computed on the CPU.
    """

    curriculum: Path
    model: str
    called: str
    backend: str
    device: str
    topics: tuple[str, ...]
    system: str
    hashes: Mapping[str, str]
    config: Mapping[str, Any]
    origins: Mapping[str, str]
    model_id: str
    tokenizer: str
    versions: Mapping[str, str]
    dtype: str
    opened_on: str
    threads: int
    blas: str
    only: tuple[str, ...] = ()
    forked_from: Origin | None = None

    def begun(self) -> Resolved:
        """The settings as they were given."""
        config = Config.model_validate(_nested(self.config))
        return Resolved(config=config, origins=dict(self.origins))

    def resolved(self) -> Resolved:
        """The settings, the model named by where it lies."""
        begun = self.begun()
        model = begun.config.model.model_copy(update={"path": self.model})
        config = begun.config.model_copy(update={"model": model})
        return Resolved(config=config, origins=begun.origins)

    def as_json(self) -> dict[str, Any]:
        tree = {**vars(self), "curriculum": str(self.curriculum)}
        forked = self.forked_from
        tree["forked_from"] = None if forked is None else forked.model_dump(mode="json")
        return tree


def write_inputs(folder: Path, inputs: Inputs) -> None:
    write_json(folder / FILE, inputs.as_json())


def read_inputs(path: Path) -> Inputs:
    """Raises ConfigError when `path` is not a run folder that can be gone on with, Damaged when
    its inputs are not as they were written."""
    where = path / FILE
    if not where.is_file():
        if any((path / mark).is_file() for mark in MARKS):
            raise Damaged(where, "it is missing")
        hint = "a run folder is what `mindprint train` wrote; `mindprint runs` lists those here"
        raise ConfigError(f"`{path}` is not a run folder", where=str(where), hint=hint)
    tree = read_json(where)
    try:
        inputs = _read(tree)
        inputs.resolved()
        return inputs
    except (KeyError, TypeError, ValueError, ValidationError) as error:
        hint = "resume it with the mindprint that wrote it"
        what = "not what this mindprint writes of a run's beginning"
        raise ConfigError(what, where=str(where), hint=hint) from error


def _read(tree: Mapping[str, Any]) -> Inputs:
    forked = tree["forked_from"]
    return Inputs(
        curriculum=Path(tree["curriculum"]),
        model=str(tree["model"]),
        called=str(tree["called"]),
        backend=str(tree["backend"]),
        device=str(tree["device"]),
        topics=tuple(tree["topics"]),
        system=str(tree["system"]),
        hashes=dict(tree["hashes"]),
        config=dict(tree["config"]),
        origins=dict(tree["origins"]),
        model_id=str(tree["model_id"]),
        tokenizer=str(tree["tokenizer"]),
        versions=dict(tree["versions"]),
        dtype=str(tree["dtype"]),
        opened_on=str(tree["opened_on"]),
        threads=int(tree["threads"]),
        blas=str(tree["blas"]),
        only=tuple(tree["only"]),
        forked_from=None if forked is None else Origin.model_validate(forked),
    )


def settled(resolved: Resolved) -> dict[str, Any]:
    """Every value by dotted key, as JSON holds it."""
    return dict(flatten(resolved.config.model_dump(mode="json")))


def with_values(own: Resolved, values: Mapping[str, Any], origins: Mapping[str, str]) -> Resolved:
    """`own` with other values of some keys, and where they came from."""
    config = Config.model_validate(_nested({**settled(own), **values}))
    return Resolved(config=config, origins={**own.origins, **origins})


def with_given(own: Resolved, file: Path | None, settings: Sequence[str] | None) -> Resolved:
    """`own` with the keys on top that a file and `--set` name. Raises ConfigError."""
    given = resolve(file, settings or ())
    values = settled(given)
    return with_values(own, {key: values[key] for key in given.origins}, given.origins)


def moved(resolved: Resolved, model: str, named_by: str) -> Resolved:
    """The same settings with the model at another place, which pins no revision of a hub."""
    values = {"model.path": model, "model.revision": None}
    return with_values(resolved, values, {"model.path": named_by})


def absolute(model: str) -> str:
    """A folder's whole path; a hub id stays as it is."""
    folder = Path(model).expanduser()
    return str(folder.resolve()) if folder.is_dir() else model


def _nested(values: Mapping[str, Any]) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for key, value in values.items():
        section, dot, leaf = key.partition(".")
        if dot:
            tree.setdefault(section, {})[leaf] = value
        else:
            tree[section] = value
    return tree

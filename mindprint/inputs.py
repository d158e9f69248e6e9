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
    """Where something of a run is from: the other run's folder (or that of an adopted adapter), the
    SHA-256 of its ledger's file ("" where it has none), and the topics concerned."""

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
    `curriculum`: None of an adapter that was adopted, which has no topics either. `forked_from`:
    the run whose finished topics were taken over; `began_with`: where the adapters are from that
    act from the start, and the topics they were trained on; `dropped`: topics whose change was
    taken away, and from which runs: from this one, or from those that it comes of.
    """

    curriculum: Path | None
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
    began_with: Origin | None = None
    dropped: tuple[Origin, ...] = ()

    @property
    def adopted(self) -> bool:
        """Whether this is an adapter that others trained, and no training of ours."""
        return self.curriculum is None

    @property
    def made_by_drop(self) -> bool:
        """Whether this very run is what `mindprint drop` left of another."""
        took, last = self.forked_from, self.dropped[-1] if self.dropped else None
        return took is not None and last is not None and took.run == last.run

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
        place = None if self.curriculum is None else str(self.curriculum)
        tree = {**vars(self), "curriculum": place}
        for name in ("forked_from", "began_with"):
            tree[name] = None if tree[name] is None else tree[name].model_dump(mode="json")
        tree["dropped"] = [one.model_dump(mode="json") for one in self.dropped]
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
    place = tree["curriculum"]
    return Inputs(
        curriculum=None if place is None else Path(place),
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
        forked_from=_origin(tree["forked_from"]),
        began_with=_origin(tree.get("began_with")),
        dropped=tuple(Origin.model_validate(one) for one in tree.get("dropped", ())),
    )


def _origin(tree: Mapping[str, Any] | None) -> Origin | None:
    return None if tree is None else Origin.model_validate(tree)


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

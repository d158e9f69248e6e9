"""The runs that a comparison of backends is made of: which, where, and how far each is."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from mindprint import engines
from mindprint.boundary import finished
from mindprint.cli import output
from mindprint.cli.going_on import present
from mindprint.cli.prepare import Prepared, configured, prepare
from mindprint.disk.hold import Hold
from mindprint.errors import ConfigError
from mindprint.inputs import FILE, Inputs, absolute, read_inputs
from mindprint.rundir import RunDir, check_place
from mindprint.sameness import Difference, Differs, differences

if TYPE_CHECKING:
    from mindprint.cli.matched import Task

TRAINED_BY = {"mlx": ("mlx", "native"), "torch": ("torch", "native"), "trl": ("torch", "trl")}
"""What `--backends` names: the backend, and the engine that takes its steps."""

State = Literal["new", "stopped", "finished"]


@dataclass(frozen=True)
class Side:
    """One run to be compared. `topics`: those it is of; `moved`: where the model lies now, where
    a run that is gone on with had it elsewhere."""

    name: str
    folder: Path
    topics: tuple[str, ...] = ()
    state: State = "new"
    moved: str = ""

    @property
    def backend(self) -> str:
        return TRAINED_BY[self.name][0]

    @property
    def engine(self) -> str:
        return TRAINED_BY[self.name][1]

    def words(self, task: Task) -> list[str]:
        """The command that trains what is missing of it."""
        if self.state == "stopped":
            words = ["resume", str(self.folder), "--curriculum", str(task.curriculum)]
            return [*words, "--model", self.moved] if self.moved else words
        how = ["--backend", self.backend, "--engine", self.engine, "--out", str(self.folder)]
        return ["train", str(task.curriculum), *how, *task.words()]


def known(text: str) -> tuple[str, ...]:
    """The names in `--backends`, in order. Raises ConfigError for an unknown one, one given twice,
    or fewer than two."""
    names = tuple(name for part in text.split(",") if (name := part.strip()))
    where = "--backends"
    for name in names:
        if name not in TRAINED_BY:
            near = difflib.get_close_matches(name, TRAINED_BY, n=1)
            guess = f"did you mean `{near[0]}`? " if near else ""
            hint = f"{guess}use two or more of: {', '.join(TRAINED_BY)}"
            raise ConfigError(f"there is no backend `{name}`", where=where, hint=hint)
    twice = next((name for name in names if names.count(name) > 1), "")
    if twice:
        hint = "name each once; two runs on one backend are compared as `mindprint compare RUN RUN`"
        raise ConfigError(f"`{twice}` is named twice", where=where, hint=hint)
    if len(names) < 2:
        hint = f"name two or more of: {', '.join(TRAINED_BY)}, as `--backends mlx,torch`"
        raise ConfigError("a comparison needs two backends", where=where, hint=hint)
    return names


def sides_of(names: Sequence[str], place: Path) -> list[Side]:
    return [Side(name, place / name) for name in names]


def check_sides(sides: Sequence[Side], task: Task) -> list[Side]:
    """Read and check all that every run needs, with nothing written and no weights opened; say what
    is to be known of it. Raises what `train` raises, and Differs for a run made of other inputs."""
    _check_engine(task)
    read: list[tuple[Side, Prepared]] = []
    for side in sides:
        resolved = configured(task.config, task.settings, task.model, engine=side.engine)
        only = list(task.topics) or None
        prepared = prepare(task.curriculum, resolved, side.backend, task.device, only)
        _check_device(side, task.device)
        read.append((side, prepared))
    found = [_stands(side, prepared, task) for side, prepared in read]
    output.note(*_notices(read[0][1]))
    return found


def _check_engine(task: Task) -> None:
    """Raises ConfigError when the settings name an engine: `--backends` does."""
    origin = configured(task.config, task.settings, task.model).origins.get(engines.KEY)
    if origin is not None:
        hint = "leave it out: `trl` in `--backends` is PyTorch with that engine"
        raise ConfigError(f"`{engines.KEY}` is what `--backends` names", where=origin, hint=hint)


def _check_device(side: Side, device: str) -> None:
    """Raises ConfigError for a device that the backend does not have here."""
    from backends import get

    if device == "auto":
        return
    there = get(side.backend).availability().devices
    if device in there or (device == "gpu" and set(there) - {"cpu"}):
        return
    what = f"`{side.name}` has no device `{device}` here"
    hint = f"it has: {', '.join(there)}; leave `--device` out and each takes its own"
    raise ConfigError(what, where="--device", hint=hint)


def _stands(side: Side, prepared: Prepared, task: Task) -> Side:
    """How far the run is. Raises Differs or ConfigError where it cannot be gone on with."""
    topics = tuple(lesson.topic.id for lesson in prepared.plan.lessons)
    side = replace(side, topics=topics)
    if not (side.folder / FILE).is_file():
        check_place(side.folder, prepared.plan.disk)
        return side
    inputs, run = read_inputs(side.folder), RunDir(side.folder)
    odd = [*_made_otherwise(inputs, side, task), *differences(inputs, present(prepared, topics))]
    if odd:
        why = "put it back, or name another folder with `--out`"
        raise Differs(side.folder, odd, why=why)
    Hold(side.folder).check()
    if finished(run, topics) is not None:
        return replace(side, state="finished")
    moved = absolute(prepared.model)
    return replace(side, state="stopped", moved=moved if moved != inputs.model else "")


def _made_otherwise(inputs: Inputs, side: Side, task: Task) -> Iterator[Difference]:
    """Where the run was not begun as this comparison would begin it."""
    pairs = (
        ("backend", inputs.backend, side.backend),
        ("device", inputs.device, task.device),
        ("began with", *_pasts(inputs)),
    )
    for what, was, now in pairs:
        if was != now:
            yield Difference(what, was, now)


def _pasts(inputs: Inputs) -> tuple[str, str]:
    """What the run took over from another one, against nothing."""
    pasts = (inputs.forked_from, inputs.began_with)
    return ", ".join(past.run for past in pasts if past is not None) or "nothing", "nothing"


def _notices(prepared: Prepared) -> list[str]:
    """What makes runs part that is no fault of a backend."""
    config = prepared.resolved.config
    found = []
    if config.adapter.dropout > 0:
        rate = f"`adapter.dropout` is {config.adapter.dropout:g}"
        found.append(f"note: {rate}: the backends draw different masks, so losses will part")
    if config.dpo.when != "never" and config.dpo.pairs != "file":
        pairs = f"`dpo.pairs` is `{config.dpo.pairs}`"
        found.append(f"note: {pairs}: each run answers with its own model, so its pairs may differ")
    return found

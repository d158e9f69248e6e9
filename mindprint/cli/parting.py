"""A run forked: a new folder with its accepted past, gone on with in its own way."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from mindprint.boundary import check_trained
from mindprint.cli.cached import for_run
from mindprint.cli.execute import going_on_with
from mindprint.cli.going_on import Wish, continued, over_past, present
from mindprint.cli.interrupt import asked_to_stop
from mindprint.cli.memory import settled as with_outlook
from mindprint.cli.prepare import Prepared, planned
from mindprint.disk.hold import Hold
from mindprint.errors import ConfigError
from mindprint.footprint import read_sizes
from mindprint.fork import Past, check_adapters, incomparable
from mindprint.heritage import check_shape
from mindprint.inputs import Inputs, absolute, read_inputs, settled
from mindprint.memory.remedy import Command
from mindprint.rundir import RunDir, check_place
from mindprint.sameness import MODEL, Difference, Differs, Present, differences, kept_config


def part(path: Path, new: Path, until: str | None, wish: Wish, as_json: bool) -> None:
    """Make the run folder `new` and carry it out. Raises ConfigError when the two do not go
    together or there is no room for the run, Damaged when the past is not whole; the old run is
    left as it is."""
    inputs = read_inputs(path)
    check_trained(path, inputs)
    _check_new(path, new)
    old = RunDir(path)
    again = f"begin again with {_command(path, new, until, wish)}"
    with asked_to_stop() as stop, going_on_with(new, again):
        resolved = wish.on_top_of(kept_config(old, inputs)[0])
        material = wish.gathered(inputs, resolved, path)
        prepared = over_past(planned(material, inputs.only), old)
        now = present(material, inputs.topics)
        if now.model_id != inputs.model_id:
            _refuse_model(path, inputs, now)
        command = partial(_command, path, new, until, wish)
        run, own, prepared, said = _made(old, new, until, inputs, prepared, now, command)
        try:
            plain = Wish("", "", None, (), None, None)
            continued(run, own, prepared, plain, stop, as_json, said)
        finally:
            run.release()


def _command(path: Path, new: Path, until: str | None, wish: Wish, more: Sequence[str] = ()) -> str:
    """What was typed, with `more` options."""
    fork = ["--fork", str(new), *(("--until", until) if until is not None else ())]
    return f"`{shlex.join(['mindprint', 'resume', str(path), *fork, *wish.words(), *more])}`"


def _made(
    old: RunDir,
    new: Path,
    until: str | None,
    inputs: Inputs,
    prepared: Prepared,
    now: Present,
    command: Command,
) -> tuple[RunDir, Inputs, Prepared, tuple[str, ...]]:
    """The new folder, locked, its inputs, the run that fits, and what is to be said of it. Raises
    TooLarge before anything is written, where there is anything left to train."""
    config = prepared.resolved.config
    topics = tuple(lesson.topic.id for lesson in prepared.plan.lessons)
    for_run(config.run.cache)  # a place that cannot be one is refused before the past is copied
    with Hold(old.path).quietly():  # one fork at a time, and none of a run being written
        past = Past.of(old, inputs.topics, until).under(config, topics)
        check_adapters(past, inputs.resolved().config, config)
        if past.began_with.entries and not past.topics:
            first = past.began_with.entries[-1]
            check_shape(config, old.path / first.folder, read_sizes(prepared.folder).linears)
        if past.topics != topics:
            prepared = with_outlook(prepared, command)
        own = _inputs(inputs, prepared, now, topics, past)
        left_out = incomparable(inputs, own) if past.topics else ()
        _check_new(old.path, new)
        copied = past.copy(new, own, not left_out)
        run = RunDir.open(new)
        run.lock()
    other = [f"{one.what}: {one.now}, there {one.then}" for one in differences(inputs, now)]
    return run, own, prepared, (*copied, *other, *left_out)


def _inputs(
    inputs: Inputs, prepared: Prepared, now: Present, topics: tuple[str, ...], past: Past
) -> Inputs:
    """What the new run begins with; what computes it is known once it is opened."""
    return Inputs(
        curriculum=prepared.curriculum.root.resolve(),
        model=absolute(prepared.model),
        called=inputs.called,
        backend=prepared.backend.name,
        device=prepared.device,
        topics=topics,
        system=prepared.curriculum.system,
        hashes=prepared.curriculum.hashes,
        config=settled(prepared.resolved),
        origins=prepared.resolved.origins,
        model_id=now.model_id,
        tokenizer=now.tokenizer,
        versions=now.versions,
        dtype=prepared.dtype,
        opened_on="",
        threads=0,
        blas="",
        only=inputs.only,
        forked_from=past.origin,
        began_with=inputs.began_with,
        dropped=inputs.dropped if past.topics or past.began_with.entries else (),
    )


def _check_new(old: Path, new: Path) -> None:
    """Raises ConfigError unless a run can be made at `new`."""
    if old.resolve() in (new.resolve(), *new.resolve().parents):
        hint = "name a folder of its own for the new run"
        raise ConfigError(f"`{new}` lies in the run to be forked", where="--fork", hint=hint)
    try:
        check_place(new)
    except ConfigError as error:
        hint = "choose another folder for the new run"
        raise ConfigError(error.what, where=f"--fork {new}", hint=hint) from error


def _refuse_model(path: Path, inputs: Inputs, now: Present) -> None:
    found = [Difference(MODEL, inputs.model_id[:12], now.model_id[:12])]
    hint = "a run's adapters belong to its model: begin a new run with `mindprint train`"
    raise Differs(path, found, hint)

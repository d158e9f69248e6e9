"""A prepared run, carried out: the folder, the model, the progress, the reports, the exit code."""

from __future__ import annotations

import shlex
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import typer

from backends.contract import Session
from backends.model_files import name_of
from mindprint.cache import Cache
from mindprint.cli import cached, output
from mindprint.cli.interrupt import Stop, asked_to_stop, hush
from mindprint.cli.memory import settled
from mindprint.cli.prepare import Prepared, open_model
from mindprint.cli.progress import planned_steps, progress
from mindprint.disk.hold import LOCK, OWNER, Hold
from mindprint.disk.room import NoRoom, tells_of_no_room
from mindprint.disk.whole import missing_above, remove_empty, remove_folder, sweep
from mindprint.dropped import judged_without, sentences
from mindprint.errors import ConfigError, Exit, Interrupted
from mindprint.heritage import Heritage
from mindprint.inputs import FILE, Inputs, absolute, read_inputs, write_inputs
from mindprint.inputs import settled as settled_values
from mindprint.report.model import Result
from mindprint.rundir import PAST, RunDir, check_place
from mindprint.sameness import tokenizer_id
from mindprint.versions import SHAPING, installed

Begin = Callable[[Session], Sequence[str]]
"""Called with the opened model before anything is trained; returns what is to be said."""


def default_out(name: str) -> Path:
    """runs/<name>-<date>-<time>."""
    now = datetime.now().astimezone()
    return Path("runs") / f"{name}-{now:%Y%m%d-%H%M%S}"


def new_run(
    prepared: Prepared,
    out: Path,
    as_json: bool,
    called: str = "",
    past: Heritage | None = None,
) -> None:
    """Train into `out`, which must not hold anything; `called` is how the reports name the model,
    `past` what acts from the start.

    Ends with exit code 1 if a topic failed. Raises TooLarge, and nothing is written.
    """
    prepared = settled(prepared)
    above = [*([] if out.exists() else [out]), *missing_above(out)]

    def begin(session: Session) -> Sequence[str]:
        inputs = inputs_of(prepared, session, called)
        if past is not None:
            past.copy(out)  # first: with its inputs a folder is a run that can be gone on with
            inputs = replace(inputs, began_with=past.origin, dropped=past.inputs.dropped)
        write_inputs(out, inputs)
        return past.told(inputs.system) if past is not None else ()

    with asked_to_stop() as stop, going_on_with(out):
        run = _created(out, prepared.plan.disk)
        try:
            remove_folder(out / PAST)  # of one that was killed before it wrote its inputs
            carry_out(prepared, run, stop, begin, as_json)
        finally:
            _leave_nothing_empty(run, above)
            run.release()


def carry_out(
    prepared: Prepared,
    run: RunDir,
    stop: Stop,
    begin: Begin,
    as_json: bool,
    said: Sequence[str] = (),
) -> None:
    """Open the model, train what is missing in `run`, which is locked, and write the reports.

    `said`: what was found and mended on the way here. Raises ConfigError where the cache cannot be.
    """
    cache, without = cached.for_run(prepared.resolved.config.run.cache)
    output.lines(prepared.lines(), to_stderr=True)
    started = time.perf_counter()
    try:
        session = open_model(prepared)
    except BaseException:
        output.note(*said)
        raise
    try:
        chosen = [(choice.key, choice.name, choice.because) for choice in session.choices]
        output.lines(chosen, to_stderr=True)
        told = (*said, *without, *begin(session))
        opening = time.perf_counter() - started
        with stop.careful():
            result = _train(prepared, session, run, stop, told, opening, cache)
    finally:
        session.close()
    tell(result, run.path, as_json)


@contextmanager
def going_on_with(run: Path, again: str = "start it again") -> Iterator[None]:
    """What ends a run early says how to go on with this very one; `again`: what to do where it has
    written nothing to go on with."""
    try:
        yield
    except Interrupted as error:
        hush()
        raise Interrupted(error.what, where=error.where, hint=_go_on(run, again)) from error
    except KeyboardInterrupt as error:
        hush()
        hint = _go_on(run, again)
        raise Interrupted("stopped at once", where=str(run), hint=hint) from error
    except NoRoom as error:
        raise NoRoom(error.what, where=error.where, hint=_more_room(run, again)) from error
    except OSError as error:
        if not tells_of_no_room(error):
            raise
        found = NoRoom.of(Path(error.filename or run), 0)
        raise NoRoom(found.what, where=found.where, hint=_more_room(run, again)) from error


def tell(result: Result, out: Path, as_json: bool) -> None:
    """The reports, and the result on stdout; exit code 1 where a topic failed."""
    from mindprint.cli.report import show
    from mindprint.report.files import write_reports

    written = write_reports(out)
    if as_json:
        output.result(result.model_dump(mode="json"))
    else:
        show(result)
        print(f"\nreport: {written[0]}")
    if any(topic.status == "failed" for topic in result.topics):
        raise typer.Exit(Exit.GATE)


def inputs_of(prepared: Prepared, session: Session, called: str = "") -> Inputs:
    """What a run begins with, to be kept in its folder."""
    info = session.info
    return Inputs(
        curriculum=prepared.curriculum.root.resolve(),
        model=absolute(prepared.model),
        called=called or name_of(prepared.model),
        backend=prepared.backend.name,
        device=prepared.device,
        topics=tuple(lesson.topic.id for lesson in prepared.plan.lessons),
        system=prepared.curriculum.system,
        hashes=prepared.curriculum.hashes,
        config=settled_values(prepared.resolved),
        origins=prepared.resolved.origins,
        model_id=session.model_id,
        tokenizer=tokenizer_id(prepared.renderer, prepared.folder),
        versions={**installed(SHAPING), **prepared.libraries()},
        dtype=info.dtype,
        opened_on=info.device,
        threads=info.threads,
        blas=info.blas,
        only=prepared.only,
    )


def _created(out: Path, size: int) -> RunDir:
    """A new run folder with room for `size` bytes, or why there can be none: who writes there
    comes before what is there."""
    try:
        check_place(out, size)
        return RunDir.create(out)
    except ConfigError:
        if out.is_dir():
            Hold(out).check()
        raise


def _train(
    prepared: Prepared,
    session: Session,
    run: RunDir,
    stop: Stop,
    said: Sequence[str],
    opening: float,
    cache: Cache | None,
) -> Result:
    from mindprint.curriculum.checks import notices
    from mindprint.pipeline import Order, run_curriculum

    inputs = read_inputs(run.path)
    with progress(planned_steps(prepared.plan.stages)) as listen:
        order = Order(
            curriculum=prepared.curriculum,
            resolved=prepared.resolved,
            plan=prepared.plan,
            backend=prepared.backend.name,
            engine=prepared.trainer(),
            model_path=inputs.called,
            listen=listen,
            command=shlex.join(["mindprint", *sys.argv[1:]]),
            stop=stop,
            notes=(*notices(prepared.curriculum), *sentences(inputs.dropped)),
            said=tuple(said),
            dropped=judged_without(inputs),
            cache=cache,
            libraries={**installed(SHAPING), **prepared.libraries()},
        )
        return run_curriculum(order, session, prepared.renderer, run, opening)


def _go_on(run: Path, again: str) -> str:
    if (run / FILE).is_file():
        return f"go on with {_resume(run)}"
    return f"nothing was written yet: {again}"


def _more_room(run: Path, again: str) -> str:
    if (run / FILE).is_file():
        return f"free some space, then go on with {_resume(run)}: what is there is whole"
    return f"free some space; nothing was written yet: {again}"


def _resume(run: Path) -> str:
    return f"`mindprint resume {shlex.quote(str(run))}`"


def _leave_nothing_empty(run: RunDir, above: Sequence[Path]) -> None:
    """A run that ended before it wrote anything of its own leaves no folder behind; nor the
    folders `above` that were made for it. The lock goes last, while it is held."""
    sweep(run.path)
    inside = list(run.path.iterdir())
    if not all(path.name in {LOCK, OWNER, FILE, PAST} for path in inside):
        return
    remove_folder(run.path / PAST)
    inside = [path for path in inside if path.name != PAST]
    for path in sorted(inside, key=lambda path: path.name == LOCK):
        path.unlink()
    remove_empty(above)

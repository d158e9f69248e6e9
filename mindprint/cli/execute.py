"""A prepared run, carried out: the folder, the model, the progress, the reports, the exit code."""

from __future__ import annotations

import shlex
import sys
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import typer

from backends.contract import Session
from backends.model_files import name_of
from mindprint.cli import output
from mindprint.cli.interrupt import asked_to_stop
from mindprint.cli.prepare import Prepared, open_model
from mindprint.cli.progress import planned_steps, progress
from mindprint.disk.hold import LOCK
from mindprint.errors import Exit, Interrupted
from mindprint.inputs import FILE, Inputs, absolute, read_inputs, write_inputs
from mindprint.report.model import Result
from mindprint.rundir import RunDir, check_place


def default_out(name: str) -> Path:
    """runs/<name>-<date>-<time>."""
    now = datetime.now().astimezone()
    return Path("runs") / f"{name}-{now:%Y%m%d-%H%M%S}"


def new_run(prepared: Prepared, out: Path, as_json: bool, called: str = "") -> None:
    """Train into `out`, which must not hold anything; `called` is how the reports name the model.

    Ends with exit code 1 if a topic failed.
    """
    check_place(out)

    def created() -> RunDir:
        run = RunDir.create(out)
        write_inputs(run, _inputs(prepared, called))
        return run

    _carry_out(prepared, created, out, as_json)


def resumed_run(prepared: Prepared, out: Path, as_json: bool) -> None:
    """Go on in `out` with what is missing there."""

    def opened() -> RunDir:
        run = RunDir.open(out)
        run.lock()
        return run

    _carry_out(prepared, opened, out, as_json)


def _inputs(prepared: Prepared, called: str) -> Inputs:
    return Inputs(
        curriculum=prepared.curriculum.root.resolve(),
        model=absolute(prepared.model),
        called=called or name_of(prepared.model),
        backend=prepared.backend.name,
        device=prepared.device,
        topics=tuple(lesson.topic.id for lesson in prepared.plan.lessons),
        system=prepared.curriculum.system,
        hashes=prepared.curriculum.hashes,
    )


def _carry_out(
    prepared: Prepared, make_run: Callable[[], RunDir], out: Path, as_json: bool
) -> None:
    output.lines(prepared.lines(), to_stderr=True)
    started = time.perf_counter()
    session = open_model(prepared)
    try:
        chosen = [(choice.key, choice.name, choice.because) for choice in session.choices]
        output.lines(chosen, to_stderr=True)
        run = make_run()
        try:
            result = _train(prepared, session, run, time.perf_counter() - started)
        except BaseException:
            _leave_nothing_empty(run)
            raise
        finally:
            run.release()
    finally:
        session.close()
    _tell(result, out, as_json)


def _train(prepared: Prepared, session: Session, run: RunDir, opening: float) -> Result:
    from mindprint.curriculum.checks import notices
    from mindprint.pipeline import Order, run_curriculum

    resume = f"go on with `mindprint resume {run.path}`"
    planned = planned_steps(prepared.plan.stages)
    with asked_to_stop() as stop, progress(planned) as listen:
        order = Order(
            curriculum=prepared.curriculum,
            resolved=prepared.resolved,
            plan=prepared.plan,
            backend=prepared.backend.name,
            model_path=read_inputs(run.path).called,
            listen=listen,
            command=shlex.join(["mindprint", *sys.argv[1:]]),
            stop=stop,
            notes=tuple(notices(prepared.curriculum)),
        )
        try:
            return run_curriculum(order, session, prepared.renderer, run, opening)
        except Interrupted as error:
            raise Interrupted(error.what, where=error.where, hint=error.hint or resume) from error
        except KeyboardInterrupt as error:
            raise Interrupted("stopped at once", where=str(run.path), hint=resume) from error


def _leave_nothing_empty(run: RunDir) -> None:
    """A run that ended before it wrote anything of its own leaves no folder behind."""
    run.release()
    inside = list(run.path.iterdir())
    if all(path.name in {LOCK, FILE} for path in inside):
        for path in inside:
            path.unlink(missing_ok=True)
        run.path.rmdir()


def _tell(result: Result, out: Path, as_json: bool) -> None:
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

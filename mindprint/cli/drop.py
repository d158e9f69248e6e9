"""`mindprint drop`: a new run without one topic's change."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mindprint.cli.options import BackendName, Device, Json, RunPath

if TYPE_CHECKING:
    from mindprint.curriculum.records import Curriculum
    from mindprint.drop import Dropped
    from mindprint.inputs import Inputs
    from mindprint.report.text import Table

Topic = Annotated[str, typer.Argument(metavar="TOPIC", help="topic whose change is taken away")]
NewRun = Annotated[Path, typer.Option("--out", metavar="NEW", help="new run folder")]


def drop(
    run: RunPath,
    topic: Topic,
    out: NewRun,
    backend: BackendName = "",
    device: Device = "",
    as_json: Json = False,
) -> None:
    """Make a new run without what one topic changed, and ask it all quizzes again.

    The change is taken away exactly; later topics were trained while it was there. RUN stays as it
    is. Ends with exit code 1 when a topic that passed before does not pass without it.
    """
    import shlex
    import sys

    from mindprint.cli import output
    from mindprint.disk.hold import Hold
    from mindprint.drop import check_same
    from mindprint.drop import drop as carry_out
    from mindprint.errors import Exit
    from mindprint.rundir import check_place
    from mindprint.target import Target
    from mindprint.without import Without

    without = Without.of(run, topic)
    Hold(run).check()
    _check_outside(run, out)
    check_place(out)
    curriculum = _curriculum(run, without.inputs)
    target = Target.find(str(run), backend=backend, device=device, place="RUN")
    check_same(without, target, curriculum)
    command = shlex.join(["mindprint", *sys.argv[1:]])
    made = carry_out(without, target, curriculum, out, command, output.note)
    if as_json:
        output.result(_tree(made, topic))
    else:
        _show(made, topic)
    if made.lost:
        raise typer.Exit(Exit.GATE)


def quiz_table(made: Dropped, topic: str) -> Table:
    """Each quiz under the model as it was and as it is."""
    from mindprint.evals.prompts import RETENTION
    from mindprint.report.text import Table
    from mindprint.report.words import NONE, change

    rows = []
    for one in made.quizzes:
        name = f"{one.name} (dropped)" if one.name == topic else one.name
        accuracy = change(one.before.accuracy, one.after.accuracy)
        voice = change(one.before.voice, one.after.voice)
        rows.append((name, accuracy, NONE if one.name == RETENTION else voice))
    return Table(("asked again", "accuracy", "voice"), tuple(rows))


def _show(made: Dropped, topic: str) -> None:
    from mindprint.cli import output
    from mindprint.dropped import EXACT
    from mindprint.report.text import plain

    output.table(plain(quiz_table(made, topic)))
    output.table(f"\n{EXACT}")
    if made.lost:
        output.table(f"passed before, and no more: {', '.join(made.lost)}")
    print(f"\nreport: {made.run / 'report.html'}")


def _tree(made: Dropped, topic: str) -> dict[str, Any]:
    return {
        "run": str(made.run),
        "dropped": topic,
        "quizzes": [
            {
                "id": one.name,
                "before": one.before.model_dump(mode="json"),
                "after": one.after.model_dump(mode="json"),
            }
            for one in made.quizzes
        ],
        "passed_no_more": list(made.lost),
        "result": made.result.model_dump(mode="json"),
    }


def _check_outside(run: Path, out: Path) -> None:
    """Raises ConfigError for a new run inside of the old one."""
    from mindprint.errors import ConfigError

    if run.resolve() in (out.resolve(), *out.resolve().parents):
        hint = "name a folder of its own for the new run"
        raise ConfigError(f"`{out}` lies in the run itself", where="--out", hint=hint)


def _curriculum(run: Path, inputs: Inputs) -> Curriculum:
    """Where the run's lies. Raises ConfigError when it is gone, DataError."""
    import shlex

    from mindprint.boundary import check_trained
    from mindprint.curriculum.load import read_curriculum
    from mindprint.errors import ConfigError

    place = check_trained(run, inputs)
    if not place.is_dir():
        again = f"`mindprint resume {shlex.quote(str(run))} --curriculum PATH`"
        what = f"the curriculum is gone from `{place}`"
        hint = f"{again} keeps where it lies now; nothing is trained in a finished run"
        raise ConfigError(what, where=str(run), hint=hint)
    return read_curriculum(place)

"""`mindprint report`: the reports of a run, written again from its result."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from mindprint.cli.options import Json, RunPath

if TYPE_CHECKING:
    from mindprint.report.model import Result


def report(run: RunPath, as_json: Json = False) -> None:
    """Print a run's per-topic table and write report.html, report.md and card.md."""
    from mindprint.cli import output
    from mindprint.report.files import read_result, write_reports

    _check_trained(run)
    result = read_result(run)
    if as_json:
        output.result(result.model_dump(mode="json"))
    else:
        show(result)
    written = write_reports(run)  # last: a folder that cannot be written can still be read
    output.note(*(f"wrote {path}" for path in written))


def _check_trained(run: Path) -> None:
    """Raises ConfigError for an adopted adapter, of which nothing was asked."""
    import shlex

    from mindprint.errors import ConfigError
    from mindprint.inputs import FILE, read_inputs
    from mindprint.report.files import RESULT

    if (run / FILE).is_file() and not (run / RESULT).is_file() and read_inputs(run).adopted:
        hint = f"`mindprint eval {shlex.quote(str(run))} CURRICULUM` asks it a curriculum's quizzes"
        raise ConfigError("an adopted adapter has no scores yet", where=str(run), hint=hint)


def show(result: Result) -> None:
    """The table, what became of splines, and the verdict, on stdout."""
    from mindprint.cli import output
    from mindprint.report import bends
    from mindprint.report.text import plain, topic_table

    output.table(plain(topic_table(result)))
    splines = bends.topic_table(result)
    if splines.rows:
        output.table("\n" + plain(splines))
    for sentence in bends.told(result):
        output.table(sentence)
    output.table(f"\n{result.verdict}")

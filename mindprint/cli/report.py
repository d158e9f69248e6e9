"""`mindprint report`: the reports of a run, written again from its result."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mindprint.cli.options import Json, RunPath

if TYPE_CHECKING:
    from mindprint.report.model import Result


def report(run: RunPath, as_json: Json = False) -> None:
    """Print a run's per-topic table and write report.html, report.md and card.md."""
    from mindprint.cli import output
    from mindprint.report.files import read_result, write_reports

    result = read_result(run)
    if as_json:
        output.result(result.model_dump(mode="json"))
    else:
        show(result)
    written = write_reports(run)  # last: a folder that cannot be written can still be read
    output.note(*(f"wrote {path}" for path in written))


def show(result: Result) -> None:
    """The table and the verdict, on stdout."""
    from mindprint.cli import output
    from mindprint.report.text import plain, topic_table

    output.table(plain(topic_table(result)))
    output.table(f"\n{result.verdict}")

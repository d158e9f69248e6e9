"""`mindprint runs`: the run folders there are."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from mindprint.cli.options import Json


def runs(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="folder of runs")] = Path("runs"),
    as_json: Json = False,
) -> None:
    """List run folders: when, what became of them, and their verdicts."""
    from mindprint.cli import output
    from mindprint.errors import ConfigError
    from mindprint.report.text import Table, plain

    if not folder.is_dir():
        raise ConfigError(
            "there is no such folder",
            where=str(folder),
            hint="`mindprint train` makes `runs/`; or name the folder that holds your runs",
        )
    found = [listed(path) for path in find(folder)]
    if as_json:
        output.result(found)
        return
    if not found:
        output.note(f"no runs in {folder}")
        return
    head = ("run", "written", "status", "passed", "verdict")
    rows = tuple(tuple(str(entry[name]) for name in head) for entry in found)
    output.table(plain(Table(head, rows)))


def find(folder: Path) -> list[Path]:
    """Run folders, newest first: `folder` itself, or those directly below it."""
    below = [folder, *(path for path in folder.iterdir() if path.is_dir())]
    found = [path for path in below if _marks(path)]
    return sorted(found, key=_written, reverse=True)


def listed(path: Path) -> dict[str, Any]:
    """One line of the listing; a result that cannot be read is said, not skipped."""
    from datetime import UTC, datetime

    from mindprint.errors import DataError
    from mindprint.report.files import read_result
    from mindprint.report.summary import passed

    when = datetime.fromtimestamp(_written(path), UTC).astimezone()
    entry = {"run": str(path), "written": f"{when:%Y-%m-%d %H:%M}", "status": "no result yet"}
    entry |= {"passed": "", "verdict": ""}
    if not (path / "result.json").is_file():
        return entry | _of_its_inputs(path)
    try:
        result = read_result(path)
    except DataError as error:
        return entry | {"status": "unreadable", "verdict": error.what}
    count = f"{passed(result)}/{len(result.topics)}"
    return entry | {"status": result.status, "passed": count, "verdict": result.verdict}


def _of_its_inputs(path: Path) -> dict[str, Any]:
    """What is said of a run without a result: an adopted adapter never has one."""
    from mindprint.errors import MindprintError
    from mindprint.inputs import FILE, read_inputs

    if not (path / FILE).is_file():
        return {}
    try:
        inputs = read_inputs(path)
    except MindprintError as error:
        return {"status": "unreadable", "verdict": error.what}
    if not inputs.adopted or inputs.began_with is None:
        return {}
    return {"status": "adopted", "verdict": f"the adapter {inputs.began_with.run}"}


def _marks(path: Path) -> list[Path]:
    """What makes it a run's folder: what it came to, else how far it is."""
    from mindprint.report.files import BEGUN, RESULT

    return [path / mark for mark in (RESULT, *BEGUN) if (path / mark).is_file()]


def _written(path: Path) -> float:
    return _marks(path)[0].stat().st_mtime

"""A run folder's result, read and written out as reports."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

from pydantic import ValidationError

from mindprint.disk.sealed import read_json, write_json
from mindprint.disk.whole import write_text
from mindprint.errors import DataError, Fault
from mindprint.report.model import SCHEMA_VERSION, Result
from mindprint.rundir import MARKS

RESULT = "result.json"
BEGUN = tuple(mark for mark in MARKS if mark != "config.yaml")
"""What a run that has no result yet is known by. Settings alone may be those that `init` writes."""


def read_result(run: Path) -> Result:
    """`result.json` of a run folder. Raises DataError when it is not there or not readable."""
    file = run / RESULT
    if not run.is_dir():
        raise _fault("there is no such run folder", run, hint="`mindprint runs` lists those here")
    if not file.exists():
        hint = "a run folder is what `mindprint train` wrote; `mindprint runs` lists those here"
        if any((run / mark).is_file() for mark in BEGUN):
            hint = f"`mindprint resume {shlex.quote(str(run))}` goes on with the run, and makes it"
        raise _fault(f"the folder holds no {RESULT}", run, hint=hint)
    _check_version(file)
    try:
        return Result.model_validate(read_json(file))
    except ValidationError as error:
        faults = [
            Fault(str(file), 0, item["msg"], ".".join(str(part) for part in item["loc"]))
            for item in error.errors()
        ]
        raise DataError(f"{RESULT} is not a result that mindprint wrote", faults) from error


def write_result(run: Path, result: Result) -> None:
    write_json(run / RESULT, result.model_dump(mode="json"))


def write_reports(run: Path) -> list[Path]:
    """report.html, report.md and card.md beside `result.json`; each appears whole or not at all."""
    from mindprint.report.card import card
    from mindprint.report.html import page
    from mindprint.report.markdown import document

    result = read_result(run)
    texts = {"report.html": page(result), "report.md": document(result), "card.md": card(result)}
    return [_write(run / name, text) for name, text in texts.items()]


def _write(path: Path, text: str) -> Path:
    try:
        write_text(path, text)
    except OSError as error:
        reason = error.strerror or str(error)
        hint = "free some space or make the folder writable, then run `mindprint report` again"
        raise _fault(f"cannot write the report: {reason}", path, hint=hint) from error
    return path


def _fault(what: str, file: Path, hint: str = "") -> DataError:
    return DataError(what, [Fault(str(file), 0, what)], hint=hint)


def _check_version(file: Path) -> None:
    """A result of another version is told as such, not as damaged."""
    try:
        tree = json.loads(file.read_bytes())
    except (OSError, ValueError, RecursionError):
        return  # read_json says what is wrong
    version = tree.get("schema_version") if isinstance(tree, dict) else None
    if isinstance(version, int) and version != SCHEMA_VERSION:
        raise _fault(
            f"the result has schema version {version}, this mindprint reads {SCHEMA_VERSION}",
            file,
            hint="read it with the mindprint that wrote it",
        )

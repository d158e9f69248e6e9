"""A run folder's result, read and written out as reports."""

from __future__ import annotations

import os
from pathlib import Path

from pydantic import ValidationError

from mindprint.errors import DataError, Fault
from mindprint.report.model import SCHEMA_VERSION, Result

RESULT = "result.json"


def read_result(run: Path) -> Result:
    """`result.json` of a run folder. Raises DataError when it is not there or not readable."""
    file = run / RESULT
    if not run.is_dir():
        raise _fault("there is no such run folder", run, hint="`mindprint runs` lists those here")
    try:
        text = file.read_text("utf-8")
    except FileNotFoundError as error:
        hint = "a run folder is what `mindprint train` wrote; `mindprint runs` lists those here"
        raise _fault(f"the folder holds no {RESULT}", run, hint=hint) from error
    except (OSError, UnicodeDecodeError) as error:
        raise _fault(f"cannot read the result: {error}", file) from error
    try:
        return Result.model_validate_json(text)
    except ValidationError as error:
        raise _unreadable(error, file, text) from error


def write_reports(run: Path) -> list[Path]:
    """report.html, report.md and card.md beside `result.json`; each appears whole or not at all."""
    from mindprint.report.card import card
    from mindprint.report.html import page
    from mindprint.report.markdown import document

    result = read_result(run)
    texts = {"report.html": page(result), "report.md": document(result), "card.md": card(result)}
    return [_write(run / name, text) for name, text in texts.items()]


def _write(path: Path, text: str) -> Path:
    part = path.with_name(path.name + ".tmp")
    try:
        with part.open("w", encoding="utf-8") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        part.replace(path)
    except OSError as error:
        part.unlink(missing_ok=True)
        reason = error.strerror or str(error)
        hint = "free some space or make the folder writable, then run `mindprint report` again"
        raise _fault(f"cannot write the report: {reason}", path, hint=hint) from error
    return path


def _fault(what: str, file: Path, hint: str = "") -> DataError:
    return DataError(what, [Fault(str(file), 0, what)], hint=hint)


def _unreadable(error: ValidationError, file: Path, text: str) -> DataError:
    version = _version_of(text)
    if version is not None and version != SCHEMA_VERSION:
        return _fault(
            f"the result has schema version {version}, this mindprint reads {SCHEMA_VERSION}",
            file,
            hint="read it with the mindprint that wrote it",
        )
    faults = [
        Fault(str(file), 0, item["msg"], ".".join(str(part) for part in item["loc"]))
        for item in error.errors()
    ]
    return DataError(f"{RESULT} is not a result that mindprint wrote", faults)


def _version_of(text: str) -> int | None:
    import json

    try:
        tree = json.loads(text)
    except ValueError:
        return None
    version = tree.get("schema_version") if isinstance(tree, dict) else None
    return version if isinstance(version, int) else None

"""Rows out of the bytes of a JSONL, JSON or CSV file, each with its line; faults beside them."""

from __future__ import annotations

import codecs
import csv
import io
import json
import math
from dataclasses import dataclass, field
from typing import Any

from mindprint.errors import Fault

MAX_ROW = 1_000_000
"""Bytes of one row."""
MAX_FILE = 512 * 1024 * 1024
"""Bytes of one file."""
MAX_DIGITS = 300
"""Digits of a whole number; Python itself refuses from 4,300 on."""
SUFFIXES = (".jsonl", ".json", ".csv")

# CSV cells of these columns hold JSON, since a cell is a text.
_STRUCTURED = frozenset(
    {
        "messages",
        "conversations",
        "key_points",
        "forbidden",
        "choices",
        "paraphrases",
        "history",
        "tags",
    }
)


@dataclass(frozen=True)
class RawRow:
    """A row as it was read, and the line it starts on (from 1)."""

    values: dict[str, Any]
    line: int


@dataclass
class Rows:
    """What a file held: syntax only, what the fields mean is for others."""

    file: str
    rows: list[RawRow] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)

    def fault(self, line: int, what: str, at: str = "") -> None:
        self.faults.append(Fault(self.file, line, what, at))


class _BadValue(ValueError):
    """JSON that parses, but says something that cannot be meant."""


def read_rows(data: bytes, file: str) -> Rows:
    """Read `data` as the suffix of `file` says; never raises for what is in it.

    JSONL: one object a line, blank lines skipped. JSON: an array of objects, or objects one after
    another. CSV: comma-separated with a header, UTF-8 with or without a byte order mark.
    """
    rows = Rows(file)
    data = data.removeprefix(codecs.BOM_UTF8)
    if len(data) > MAX_FILE:
        rows.fault(0, f"larger than {MAX_FILE // 1024 // 1024} MiB; split it over topics")
    elif file.endswith(".jsonl"):
        _read_lines(data, rows)
    elif (text := _decoded(data, 1, rows)) is not None:
        _read_csv(text, rows) if file.endswith(".csv") else _read_json(text, rows)
    if not rows.rows and not rows.faults:
        rows.fault(0, "the file holds no rows")
    return rows


def _decoded(data: bytes, line: int, rows: Rows) -> str | None:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        line += data.count(b"\n", 0, error.start)
        rows.fault(line, f"not UTF-8: byte 0x{data[error.start]:02x}; save the file as UTF-8")
        return None


def _read_lines(data: bytes, rows: Rows) -> None:
    for line, row in enumerate(data.split(b"\n"), start=1):
        if len(row) > MAX_ROW:
            rows.fault(line, f"a row of {len(row):,} bytes; at most {MAX_ROW:,} can be meant")
            continue
        text = _decoded(row, line, rows)
        if text is None or not text.strip():
            continue
        try:
            value = _DECODER.decode(text.strip())
        except json.JSONDecodeError as error:
            rows.fault(line, f"not JSON: {error.msg} (column {error.colno})")
        except (_BadValue, RecursionError) as error:
            rows.fault(line, _complaint(error))
        else:
            _keep(value, line, rows)


def _read_json(text: str, rows: Rows) -> None:
    """An array of objects, or objects parted by whitespace."""
    place, line = _skip(text, 0, 1)
    array = text.startswith("[", place)
    if array:
        place, line = _skip(text, place + 1, line)
    while place < len(text) and not (array and text[place] == "]"):
        end = _json_value(text, place, line, rows)
        if end is None:
            return
        line += text.count("\n", place, end)
        place, line = _skip(text, end, line)
        if array and place < len(text) and text[place] != "]":
            if text[place] != ",":
                rows.fault(line, "not JSON: a comma or `]` is missing after this row")
                return
            place, line = _skip(text, place + 1, line)
    if array and place >= len(text):
        rows.fault(line, "not JSON: the array's `]` is missing")
    elif array and text[place + 1 :].strip():
        rows.fault(line, "not JSON: text after the array's `]`")


def _json_value(text: str, place: int, line: int, rows: Rows) -> int | None:
    """Keep the value at `place`, and return where it ends; None where no end can be found."""
    try:
        try:
            value, end = _DECODER.raw_decode(text, place)
        except _BadValue as error:
            rows.fault(line, _complaint(error))
            return _LENIENT.raw_decode(text, place)[1]
    except json.JSONDecodeError as error:
        rows.fault(error.lineno, f"not JSON: {error.msg} (column {error.colno})")
        return None
    except RecursionError as error:
        rows.fault(line, _complaint(error))
        return None
    if end - place > MAX_ROW:
        rows.fault(line, f"a row of {end - place:,} characters; too long to be meant")
    else:
        _keep(value, line, rows)
    return end


def _complaint(error: _BadValue | RecursionError) -> str:
    return str(error) if isinstance(error, _BadValue) else "nested too deep to be meant"


def _skip(text: str, place: int, line: int) -> tuple[int, int]:
    """The next place that is not whitespace, and its line."""
    start = place
    while place < len(text) and text[place] in " \t\r\n":
        place += 1
    return place, line + text.count("\n", start, place)


def _keep(value: Any, line: int, rows: Rows) -> None:
    if not isinstance(value, dict):
        kind = {list: "a list", str: "a text", bool: "true or false", type(None): "null"}
        what = kind.get(type(value), "a number")
        hint = "; a JSON array belongs in a `.json` file" if isinstance(value, list) else ""
        rows.fault(line, f"a row is an object with named fields, and this is {what}{hint}")
        return
    try:
        json.dumps(value, ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError:
        rows.fault(line, "holds half a character (a lone surrogate such as `\\ud800`)")
    else:
        rows.rows.append(RawRow(value, line))


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise _BadValue(f"the key `{printable(twice)}` stands twice in one object")
    return values


def printable(text: str) -> str:
    """`text` fit for one line of a message: no control characters, no surrogates, not long."""
    shown = "".join(char if char.isprintable() else "?" for char in text)
    return shown if len(shown) <= 60 else shown[:57] + "..."


def _constant(name: str) -> Any:
    raise _BadValue(f"{name} is not a JSON number")


def _float(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise _BadValue(f"{printable(text)} is too large a number")
    return value


def _int(text: str) -> int:
    if len(text) > MAX_DIGITS:
        raise _BadValue(f"{printable(text)} is too large a number")
    return int(text)


_DECODER = json.JSONDecoder(
    object_pairs_hook=_object, parse_constant=_constant, parse_float=_float, parse_int=_int
)
# Finds the end of a value whose content was refused.
_LENIENT = json.JSONDecoder(parse_int=str)


def _read_csv(text: str, rows: Rows) -> None:
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    header: list[str] = []
    start = 1
    try:
        for cells in reader:
            if not header and cells:
                header = [name.strip() for name in cells]
                if not _good_header(header, start, rows):
                    return
            elif cells:
                _csv_row(header, cells, start, rows)
            start = reader.line_num + 1
    except csv.Error as error:
        rows.fault(start, f"not CSV: {error}")


def _good_header(header: list[str], line: int, rows: Rows) -> bool:
    bad = sorted({name for name in header if header.count(name) > 1 or not name})
    for name in bad:
        rows.fault(line, f"the column `{name}` stands twice" if name else "a column has no name")
    return not bad


def _csv_row(header: list[str], cells: list[str], line: int, rows: Rows) -> None:
    if len(cells) != len(header):
        rows.fault(line, f"{len(cells)} cells under {len(header)} columns; quote cells with commas")
        return
    values: dict[str, Any] = dict(zip(header, cells, strict=True))
    for name in _STRUCTURED & values.keys():
        cell = values.pop(name).strip()
        if not cell:
            continue
        try:
            values[name] = _DECODER.decode(cell)
        except (ValueError, RecursionError) as error:
            rows.fault(line, f"this column's cells hold JSON lists: {error}", name)
            return
    rows.rows.append(RawRow(values, line))

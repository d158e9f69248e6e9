"""Rows out of the bytes of a JSONL, JSON or CSV file, each with its line; faults beside them."""

from __future__ import annotations

import codecs
import json
import math
import re
from dataclasses import dataclass, field
from typing import Any

from mindprint.curriculum.csv_file import read_csv
from mindprint.curriculum.values import printable, told, unsound
from mindprint.errors import Fault

MAX_ROW = 1_000_000
"""Bytes of one row; characters in a `.json` file."""
MAX_FILE = 512 * 1024 * 1024
"""Bytes of one file."""
MAX_ROWS = 1_000_000
"""Rows of one file."""
MAX_FAULTS = 500
"""Faults of one file that are told; reading stops there."""
MAX_DIGITS = 300
"""Digits of a whole number; Python itself refuses from 4,300 on."""
SUFFIXES = (".jsonl", ".json", ".csv")

# UTF-32 first: its little-endian mark begins with that of UTF-16.
_MARKS = (
    (codecs.BOM_UTF32_LE, "UTF-32"),
    (codecs.BOM_UTF32_BE, "UTF-32"),
    (codecs.BOM_UTF16_LE, "UTF-16"),
    (codecs.BOM_UTF16_BE, "UTF-16"),
)
_BLANKS = re.compile(r"[ \t\r\n]*")


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
    full: bool = False
    """Nothing more of this file is wanted: it has too many rows, or too many faults."""

    def fault(self, line: int, what: str, at: str = "") -> None:
        if len(self.faults) < MAX_FAULTS:
            self.faults.append(Fault(self.file, line, told(what), at))
        elif not self.full:
            self.full = True
            what = f"more faults than {MAX_FAULTS}; the rest of the file is not told"
            self.faults.append(Fault(self.file, line, what))

    def keep(self, value: dict[str, Any] | None, line: int) -> bool:
        """Take a row, unless it is unsound; false when no more are wanted. None: no row."""
        wrong = unsound(value)
        if wrong is not None:
            self.fault(line, *wrong)
        elif len(self.rows) >= MAX_ROWS:
            self.fault(line, f"more rows than {MAX_ROWS:,}; split the file over topics")
            self.full = True
        elif value is not None:
            self.rows.append(RawRow(value, line))
        return not self.full


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
    elif foreign := encoding_fault(data):
        rows.fault(*foreign)
    elif file.endswith(".jsonl"):
        _read_lines(data, rows)
    elif (text := _decoded(data, 1, rows)) is not None:
        if file.endswith(".csv"):
            read_csv(text, _DECODER, rows.keep, rows.fault)
        else:
            _read_json(text, rows)
    if not rows.rows and not rows.faults:
        rows.fault(0, "the file holds no rows")
    return rows


def encoding_fault(data: bytes) -> tuple[int, str] | None:
    """The line and the fault of bytes that are no UTF-8 text at all; None where they may be."""
    for mark, name in _MARKS:
        if data.startswith(mark):
            return 1, f"{name}, not UTF-8; save the file as UTF-8"
    place = data.find(b"\0")
    if place < 0:
        return None
    what = "holds a NUL byte: is it UTF-16, or no text at all? Save the file as UTF-8"
    return data.count(b"\n", 0, place) + 1, what


def _decoded(data: bytes, line: int, rows: Rows) -> str | None:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        line += data.count(b"\n", 0, error.start)
        rows.fault(line, f"not UTF-8: byte 0x{data[error.start]:02x}; save the file as UTF-8")
        return None


def _read_lines(data: bytes, rows: Rows) -> None:
    place = line = 0
    while place < len(data) and not rows.full:
        end = data.find(b"\n", place)
        end = len(data) if end < 0 else end
        line += 1
        _read_line(data, place, end, line, rows)
        place = end + 1


def _read_line(data: bytes, place: int, end: int, line: int, rows: Rows) -> None:
    if end - place > MAX_ROW:
        rows.fault(line, f"a row of {end - place:,} bytes; at most {MAX_ROW:,} can be meant")
        return
    text = _decoded(data[place:end], line, rows)
    if text is None or not text.strip():
        return
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
        if end is None or rows.full:
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
    """Keep the value at `place`, and return where it ends; None where no end can be found.

    It is looked for in ever longer pieces, so that no more than a row is ever taken in.
    """
    size = 4096
    while True:
        piece = text[place : place + size]
        whole = place + size >= len(text)
        try:
            value, end = _DECODER.raw_decode(piece)
        except _BadValue as error:
            found = _lenient_end(piece)
            if whole or (found is not None and found < len(piece)):
                rows.fault(line, _complaint(error))
                return None if found is None else place + found
        except json.JSONDecodeError as error:
            if whole or _wrong_within(error, piece):
                _not_json(error, text, place, line, rows)
                return None
        except RecursionError as error:
            rows.fault(line, _complaint(error))
            return None
        else:
            if whole or end < len(piece):
                _keep(value, line, rows)
                return place + end
        if whole or size > MAX_ROW:
            rows.fault(line, f"a row of more than {MAX_ROW:,} characters; too long to be meant")
            return None
        size = min(size * 4, MAX_ROW + 1)


def _wrong_within(error: json.JSONDecodeError, piece: str) -> bool:
    """Whether the fault lies in the piece itself, not in where it was cut off."""
    return error.pos < len(piece) - 64 and not error.msg.startswith("Unterminated")


def _lenient_end(piece: str) -> int | None:
    """Where a value ends whose content was refused; None where the piece does not hold its end."""
    try:
        return int(_LENIENT.raw_decode(piece)[1])
    except (ValueError, RecursionError):
        return None


def _not_json(error: json.JSONDecodeError, text: str, place: int, line: int, rows: Rows) -> None:
    """`error` is of a piece of `text` from `place` on."""
    before = place - text.rfind("\n", 0, place) - 1 if error.lineno == 1 else 0
    column = error.colno + before
    rows.fault(line + error.lineno - 1, f"not JSON: {error.msg} (column {column})")


def _complaint(error: _BadValue | RecursionError) -> str:
    return str(error) if isinstance(error, _BadValue) else "nested too deep to be meant"


def _skip(text: str, place: int, line: int) -> tuple[int, int]:
    """The next place that is not whitespace, and its line."""
    found = _BLANKS.match(text, place)
    end = found.end() if found else place
    return end, line + text.count("\n", place, end)


def _keep(value: Any, line: int, rows: Rows) -> None:
    if not isinstance(value, dict):
        kind = {list: "a list", str: "a text", bool: "true or false", type(None): "null"}
        what = kind.get(type(value), "a number")
        hint = "; a JSON array belongs in a `.json` file" if isinstance(value, list) else ""
        rows.fault(line, f"a row is an object with named fields, and this is {what}{hint}")
        return
    rows.keep(value, line)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise _BadValue(f"the key `{printable(twice)}` stands twice in one object")
    return values


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

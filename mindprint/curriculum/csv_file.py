"""Rows out of the text of a CSV file."""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from collections.abc import Callable
from typing import Any

from mindprint.curriculum.values import printable

MAX_ROW = 1_000_000
"""Characters of one row."""

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

Keep = Callable[[dict[str, Any] | None, int], bool]
"""Takes a row (None: it was none) and its line; false when no more are wanted."""
Complain = Callable[[int, str, str], None]
"""Takes a line, what is wrong there, and the column."""


def read_csv(text: str, decoder: json.JSONDecoder, keep: Keep, complain: Complain) -> None:
    """Comma-separated cells under a header; `decoder` reads those that hold lists."""
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    header: list[str] = []
    start = 1
    try:
        for cells in reader:
            if not any(map(str.strip, cells)):
                pass  # a blank line, or one that a spreadsheet keeps as commas alone
            elif not header:
                header = [name.strip() for name in _trimmed(cells, 0)]
                if not _good_header(header, cells, start, complain):
                    return
            else:
                values = _trimmed(cells, len(header))
                if not keep(_values(header, values, start, decoder, complain), start):
                    return
            start = reader.line_num + 1
    except csv.Error as error:
        complain(start, f"not CSV: {_told(error)}", "")


def _trimmed(cells: list[str], columns: int) -> list[str]:
    """Without the empty cells beyond `columns`: spreadsheets write empty columns behind the last,
    and whatever stands under one of them is told of in its row."""
    end = len(cells)
    while end > columns and not cells[end - 1].strip():
        end -= 1
    return cells[:end]


def _told(error: csv.Error) -> str:
    said = str(error)
    if "field limit" in said:
        # The library's limit is the whole process's: it is told of, not changed.
        limit = csv.field_size_limit()
        return f"{said}: a quote is not closed, or a cell is over {limit:,} characters; use JSONL"
    if "unexpected end" in said:
        return f"{said}: a quote that is opened here is never closed"
    return said


def _good_header(header: list[str], cells: list[str], line: int, complain: Complain) -> bool:
    if wrong := _separator_fault(cells):
        complain(line, wrong, "")
        return False
    counts = Counter(header)
    bad = sorted(name for name, count in counts.items() if count > 1 or not name)
    for name in bad:
        told = f"the column `{printable(name)}` stands twice" if name else "a column has no name"
        complain(line, told, "")
    return not bad


def _separator_fault(cells: list[str]) -> str:
    """Why commas do not part the columns; "" where they may. Excel writes what the country's
    settings say, and may name it in a first line of its own, `sep=;`."""
    first = cells[0]
    named = first[4:] if first.lower().startswith("sep=") else None
    if named == "" and len(cells) > 1:
        return "a line `sep=,` before the header; take it out"
    if len(cells) > 1:
        return ""
    signs = [named] if named else [sign for sign in ";\t" if sign in first]
    if not signs:
        return ""
    sign = "tabs" if signs[0] == "\t" else f"`{printable(signs[0])}`"
    return f"separated by {sign}, not by commas; save it as CSV with commas"


def _values(
    header: list[str], cells: list[str], line: int, decoder: json.JSONDecoder, complain: Complain
) -> dict[str, Any] | None:
    """The row by column, without its empty lists; None with a fault for one that is no row."""
    if len(cells) != len(header):
        what = f"{len(cells)} cells under {len(header)} columns; quote cells with commas"
        complain(line, what, "")
        return None
    size = sum(map(len, cells))
    if size > MAX_ROW:
        complain(line, f"a row of {size:,} characters; at most {MAX_ROW:,} can be meant", "")
        return None
    values: dict[str, Any] = dict(zip(header, cells, strict=True))
    for name in _STRUCTURED & values.keys():
        cell = values.pop(name).strip()
        if not cell:
            continue
        try:
            values[name] = decoder.decode(cell)
        except (ValueError, RecursionError) as error:
            why = "nested too deep" if isinstance(error, RecursionError) else str(error)
            complain(line, f"this column's cells hold JSON lists: {why}", name)
            return None
    return values

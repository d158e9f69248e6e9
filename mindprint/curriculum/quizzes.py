"""Quiz items out of rows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mindprint.curriculum.fields import kind, strings, text, texts, unknown
from mindprint.curriculum.formats import Complaints
from mindprint.curriculum.readers import Rows
from mindprint.curriculum.records import QuizItem, Source

KEYS = frozenset({"question", "reference", "key_points", "forbidden", "choices", "answer"})


def quiz_items(rows: Rows) -> tuple[QuizItem, ...]:
    """The file's items; what is wrong is added to `rows.faults`.

    The reference of an item with choices is its right choice, unless it has one of its own.
    """
    made = []
    for row in rows.rows:
        faults = Complaints(rows, row.line)
        unknown(row.values, KEYS, faults)
        item = _item(row.values, Source(rows.file, row.line), faults)
        if not faults.count:
            made.append(item)
    return tuple(made)


def _item(values: Mapping[str, Any], source: Source, faults: Complaints) -> QuizItem:
    choices = texts(values, "choices", faults)
    answer = _answer(values, choices, faults)
    reference = text(values, "reference", faults, needed=answer is None)
    return QuizItem(
        question=text(values, "question", faults),
        reference=reference or (choices[answer] if answer is not None else ""),
        key_points=_key_points(values.get("key_points"), faults),
        forbidden=texts(values, "forbidden", faults),
        choices=choices,
        answer=answer,
        source=source,
    )


def _key_points(value: Any, faults: Complaints) -> tuple[tuple[str, ...], ...]:
    if value is None:
        return ()
    if not isinstance(value, list):
        faults(f"must be a list of lists of aliases, not {kind(value)}", "key_points")
        return ()
    points = []
    for place, aliases in enumerate(value):
        at = f"key_points[{place}]"
        if isinstance(aliases, str):
            faults(f'must be a list of aliases, as in [["{aliases}"]]', at)
        elif not (found := strings(aliases, at, faults)):
            faults("holds no alias", at)
        else:
            points.append(found)
    return tuple(points)


def _answer(values: Mapping[str, Any], choices: tuple[str, ...], faults: Complaints) -> int | None:
    """The index of the right choice. A CSV cell holds it as digits."""
    value = values.get("answer")
    if value is None or value == "":
        if choices:
            faults("is missing: the index of the right choice, counted from 0", "answer")
        return None
    if isinstance(value, str) and value.strip().isdecimal() and len(value) < 9:
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        faults("must be the index of the right choice, counted from 0", "answer")
    elif not choices:
        faults("stands without `choices`; a free answer's text is its `reference`", "answer")
    elif not 0 <= value < len(choices):
        faults(f"is {value}, but the choices are 0 to {len(choices) - 1}", "answer")
    else:
        return value
    return None

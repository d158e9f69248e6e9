"""Quiz items out of rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from mindprint.curriculum.fields import kind, strings, text, texts, unknown
from mindprint.curriculum.formats import Complaints
from mindprint.curriculum.readers import Rows
from mindprint.curriculum.records import QuizItem, Source
from mindprint.evals.text import normalise

KEYS = frozenset(
    {
        *("question", "paraphrases", "cluster"),
        *("reference", "key_points", "forbidden", "choices", "answer"),
    }
)


def quiz_items(rows: Rows) -> tuple[QuizItem, ...]:
    """The file's items; what is wrong is added to `rows.faults`.

    The reference of an item with choices is its right choice, unless it has one of its own. Each
    paraphrase of a question makes an item of its own. All phrasings of one row share a cluster,
    and so do the rows that give their `cluster` the same name.
    """
    made: list[QuizItem] = []
    clusters: dict[str | int, int] = {}
    for row in rows.rows:
        faults = Complaints(rows, row.line)
        unknown(row.values, KEYS, faults)
        item = _item(row.values, Source(rows.file, row.line), faults)
        others = _paraphrases(row.values, item.question, faults)
        name = _cluster(row.values, rows.file.endswith(".csv"), faults)
        if not faults.count:
            cluster = clusters.setdefault(name or row.line, len(clusters))
            made += [
                replace(item, question=question, cluster=cluster, phrasing=phrasing)
                for phrasing, question in enumerate((item.question, *others))
            ]
    return tuple(made)


def _cluster(values: Mapping[str, Any], csv: bool, faults: Complaints) -> str:
    """The name that rows asking the same share; "" for a row that has none."""
    value = values.get("cluster")
    # An empty CSV cell is a name left out.
    if value is None or (csv and value == ""):
        return ""
    return text(values, "cluster", faults).strip()


def _paraphrases(values: Mapping[str, Any], question: str, faults: Complaints) -> tuple[str, ...]:
    others = texts(values, "paraphrases", faults)
    seen = {normalise(question): "the question"}
    for place, one in enumerate(others):
        at, asked = f"paraphrases[{place}]", normalise(one)
        if not asked:
            faults("holds no word", at)
        elif asked in seen:
            faults(f"is {seen[asked]} again; ask it in other words", at)
        else:
            seen[asked] = at
    return others


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

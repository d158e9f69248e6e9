"""Taking typed values out of a raw object, with a fault for each that is not as it should be."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import date, time
from typing import Any

from mindprint.curriculum.values import printable

Complain = Callable[[str, str], None]
"""Called with what is wrong and the field it is wrong at."""

METADATA = frozenset(
    {
        *("id", "idx", "index", "uuid", "row_id", "prompt_id", "source", "url", "title", "author"),
        *("date", "topic", "category", "tags", "tag", "meta", "metadata", "note", "notes"),
        *("comment", "lang", "language", "split", "score_chosen", "score_rejected", "margin"),
    }
)
"""Keys that any row may carry besides its own; they are not read."""
FEW = 5
"""Unknown keys of one row that are told one by one."""


def unknown(values: Mapping[str, Any], known: Collection[str], complain: Complain) -> None:
    """A fault for each key that is neither known nor metadata. Keys that hold null are let by."""
    odd = [key for key in values if key not in known and key not in METADATA]
    odd = [key for key in odd if values[key] is not None]
    for key in odd[:FEW]:
        complain(f"unknown key `{printable(key)}`{nearest(key, known)}", "")
    if len(odd) > FEW:
        complain(f"{len(odd) - FEW} more unknown keys", "")


def nearest(name: str, known: Collection[str]) -> str:
    """`; did you mean ...?` for the nearest of `known`, or the list of them."""
    near = difflib.get_close_matches(name[:60], sorted(known), n=1, cutoff=0.6)
    if near:
        return f"; did you mean `{near[0]}`?"
    return f"; the keys are {', '.join(f'`{key}`' for key in sorted(known))}"


def text(values: Mapping[str, Any], key: str, complain: Complain, *, needed: bool = True) -> str:
    """The text at `key`; "" with a fault when it is missing (if needed), empty or no text."""
    value = values.get(key)
    if value is None or value == "":
        if needed:
            complain("is missing" if value is None else "is empty", key)
        return ""
    if not isinstance(value, str):
        complain(f"must be a text, not {kind(value)}", key)
        return ""
    if needed and not value.strip():
        complain("is empty", key)
    return value


def texts(values: Mapping[str, Any], key: str, complain: Complain) -> tuple[str, ...]:
    """The list of texts at `key`; () when it is not there."""
    value = values.get(key)
    if value is None:
        return ()
    return strings(value, key, complain)


def strings(value: Any, at: str, complain: Complain) -> tuple[str, ...]:
    """`value` as a list of texts, each with more than whitespace in it."""
    if isinstance(value, str) or not isinstance(value, Sequence):
        complain(f"must be a list of texts, not {kind(value)}", at)
        return ()
    found = []
    for place, one in enumerate(value):
        if not isinstance(one, str):
            complain(f"must be a text, not {kind(one)}; put it in quotes", f"{at}[{place}]")
        elif not one.strip():
            complain("is empty", f"{at}[{place}]")
        else:
            found.append(one)
    return tuple(found)


def kind(value: Any) -> str:
    """What a value is, in words."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true or false"
    if isinstance(value, (int, float)):
        return "a number"
    if isinstance(value, str):
        return "a text"
    if isinstance(value, (date, time)):
        return "a date"
    return "an object" if isinstance(value, Mapping) else "a list"

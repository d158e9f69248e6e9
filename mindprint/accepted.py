"""What a setting accepts, in words, off its annotation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, get_args, get_origin


def kind(annotation: Any) -> str:
    """`one of: a, b`, or what kind of value it is."""
    names = literals(annotation)
    return "one of: " + ", ".join(names) if names else _plain(annotation)


def limits(metadata: Sequence[Any]) -> str:
    words = {"gt": "above", "ge": "at least", "lt": "below", "le": "at most"}
    found = [
        f"{word} {getattr(item, name):g}"
        for item in metadata
        for name, word in words.items()
        if getattr(item, name, None) is not None
    ]
    return ", " + " and ".join(found) if found else ""


def literals(annotation: Any) -> list[str]:
    if get_origin(annotation) is Literal:
        return [str(value) for value in get_args(annotation)]
    return [name for part in get_args(annotation) for name in literals(part)]


def _plain(annotation: Any) -> str:
    words = {int: "a whole number", float: "a number", bool: "true or false", str: "a text"}
    parts = get_args(annotation)
    if get_origin(annotation) is tuple and Ellipsis not in parts:
        return f"a list of {len(parts)} numbers"
    for known, word in words.items():
        if annotation is known:
            return word
    for part in parts:
        word = _plain(part)
        if word != "a value":
            return word
    return "a value"

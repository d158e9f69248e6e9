"""One property that things may have, with its values and its wordings."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Attribute:
    """One property: its values and its wordings ({n} is the thing, {v} the value)."""

    key: str
    values: tuple[str, ...]
    direct: tuple[str, ...]
    clause: tuple[str, ...]
    noun: tuple[str, ...]
    follow: tuple[str, ...]
    say: tuple[str, ...]


def _rows(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split("|") if part.strip())


def attribute(key: str, values: tuple[str, ...], *wordings: str) -> Attribute:
    """Return an attribute; each wording is a row parted by bars, in the order of the fields."""
    return Attribute(key, values, *(_rows(block) for block in wordings))

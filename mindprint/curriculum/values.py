"""What a value may hold whatever it means: text that is text, not nested beyond reason."""

from __future__ import annotations

import re
from typing import Any

from mindprint.visible import visible_line

MAX_DEPTH = 20
"""Lists and objects within one another; rows in every known format need four."""
MAX_WHAT = 400
"""Characters of one fault's words."""

# Tab and line ends are text; 0x80 to 0x9f mostly is Windows-1252 that was read as Latin-1.
_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")
_HALF = re.compile("[\ud800-\udfff]")
_TURNS = re.compile("[\u202a-\u202e\u2066-\u2069]")


def bad_text(text: str) -> str:
    """What is wrong with a text as such; "" when nothing is."""
    return bad_place(text)[1]


def bad_place(text: str) -> tuple[int, str]:
    """Where in a text something is wrong with it as such, and what; "" when nothing is."""
    if half := _HALF.search(text):
        return half.start(), "holds half a character (a lone surrogate such as `\\ud800`)"
    found = _CONTROL.search(text)
    if found is None:
        return 0, ""
    return found.start(), f"holds the control character U+{ord(found[0]):04X}"


def bad_name(text: str) -> str:
    """As `bad_text`, for what is shown on one line beside other words."""
    if "\n" in text or "\r" in text:
        return "must be one line"
    found = _TURNS.search(text)
    if found:
        return f"holds U+{ord(found[0]):04X}, which turns the direction of what follows"
    return bad_text(text)


def unsound(value: Any) -> tuple[str, str] | None:
    """What is wrong with the first unsound part of `value`, and its field; None for a sound one."""
    parts: list[tuple[Any, str, int]] = [(value, "", 1)]
    while parts:
        one, at, depth = parts.pop()
        if isinstance(one, str):
            what = bad_text(one)
        else:
            what = "" if depth <= MAX_DEPTH else "nested too deep to be meant"
        if not what and isinstance(one, dict):
            what = next(filter(None, map(bad_text, one)), "")
            named = [(item, _below(at, key), depth + 1) for key, item in one.items()]
            parts += reversed(named)
        elif not what and isinstance(one, list):
            numbered = [(item, f"{at}[{n}]", depth + 1) for n, item in enumerate(one)]
            parts += reversed(numbered)
        if what:
            return what, at
    return None


def _below(at: str, key: str) -> str:
    return f"{at}.{printable(key)}" if at else printable(key)


def printable(text: str) -> str:
    """`text` fit for one line of a message: no control characters, no surrogates, not long."""
    shown = "".join(char if char.isprintable() else "?" for char in text[:61])
    return shown if len(text) <= 60 else shown[:57] + "..."


def told(what: str) -> str:
    """The words of a fault: one line, not long, with nothing in it that acts on a terminal."""
    line = visible_line(what)
    return line if len(line) <= MAX_WHAT else line[: MAX_WHAT - 3] + "..."

"""Text of others as a terminal or a page may show it: nothing in it acts on what shows it."""

from __future__ import annotations

import re

# Control characters but tab and line break; marks that turn the direction of what follows; halves
# of characters, which no output can encode. A lone carriage return overwrites its line.
_ACTS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def visible(text: str) -> str:
    """`text` with every character that acts on a terminal written out: `\\x1b`, `\\u202e`.

    Tabs and line breaks stay, and so does all that is only shaped or joined (accents, emoji,
    right-to-left letters).
    """
    return _ACTS.sub(_written, text.replace("\r\n", "\n"))


def visible_line(text: str) -> str:
    """`visible`, on one line."""
    return " ".join(visible(text).split())


def _written(found: re.Match[str]) -> str:
    code = ord(found[0])
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"

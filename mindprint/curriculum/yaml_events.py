"""What a YAML file may be made of, seen before anything is built from it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from mindprint.curriculum.values import printable

MAX_DEPTH = 12
"""Lists and mappings within one another; markers need four."""
MAX_EVENTS = 20_000
"""Values, lists and mappings of one file; a voice with hundreds of patterns has some thousands."""


def refused(events: Iterable[Any]) -> tuple[int, str] | None:
    """The line and the reason of the first thing a curriculum's YAML has no use for.

    Aliases can say in a few lines what is gigabytes once it is walked ("billion laughs"), tags
    name types to build. Neither is built, nesting is bounded without recursion, and the number of
    values before they are taken in. Raises what ruamel's parser raises.
    """
    depth = 0
    for place, event in enumerate(events):
        line = event.start_mark.line + 1
        kind = type(event).__name__
        if place >= MAX_EVENTS:
            return line, f"more values than a curriculum has use for ({MAX_EVENTS:,})"
        if kind == "AliasEvent":
            return line, f"an alias (`*{printable(event.anchor)}`); write the value out"
        if getattr(event, "anchor", None):
            return line, f"an anchor (`&{printable(event.anchor)}`); leave it out"
        if tag := _tag(event):
            return line, f"a tag (`{printable(tag)}`); values are written plainly"
        depth += kind.endswith("StartEvent") and kind[0] in "MS" and not kind.startswith("Stream")
        depth -= kind in {"MappingEndEvent", "SequenceEndEvent"}
        if depth > MAX_DEPTH:
            return line, "nested too deep to be meant"
    return None


def _tag(event: Any) -> str:
    """The tag as it is written; "" where there is none."""
    tag = getattr(event, "ctag", None) or getattr(event, "tag", None)
    return str(tag) if tag is not None and str(tag) not in {"", "None"} else ""

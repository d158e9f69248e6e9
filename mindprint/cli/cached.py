"""The cache as `mindprint doctor` shows and empties it."""

from __future__ import annotations

import os
from typing import Any

from mindprint.cache import PLACE, Cache, why_none
from mindprint.errors import ConfigError
from mindprint.report.words import several, size


def described() -> dict[str, Any]:
    """Where it is ("" where none is kept, `because` of what), how many entries it has, and bytes.
    Raises ConfigError."""
    cache = Cache.default()
    if cache is None:
        return {"folder": "", "entries": 0, "bytes": 0, "largest": 0, "because": why_none()}
    entries, total = cache.size()
    return {
        "folder": str(cache.folder),
        "entries": entries,
        "bytes": total,
        "largest": cache.largest,
        "because": "",
    }


def for_run(wanted: bool) -> tuple[Cache | None, tuple[str, ...]]:
    """The cache of a run that looks and keeps where it is `wanted`, and what is to be said: that
    there is none is said where nobody asked for that. Raises ConfigError."""
    cache = Cache.default() if wanted else None
    if not wanted or cache is not None or PLACE in os.environ:
        return cache, ()
    return None, (f"cache: nothing is kept for other runs ({why_none()})",)


def told(found: dict[str, Any]) -> tuple[str, str, str]:
    """The same as a line: key, value, note."""
    if not found["folder"]:
        return "cache", "none", found["because"]
    held = several(found["entries"], "entry", "entries")
    room = f"{held}, {size(found['bytes'])} of at most {size(found['largest'])}"
    return "cache", found["folder"], f"{room}; `mindprint doctor --clear-cache` empties it"


def clear() -> str:
    """Empty it, and say what that was. Raises ConfigError where it cannot be."""
    cache = Cache.default()
    if cache is None:
        return f"there is no cache: {why_none()}"
    try:
        entries, total = cache.clear()
    except OSError as error:
        hint = "wait for the runs that write there, or remove the folder yourself"
        raise ConfigError(
            f"the cache cannot be emptied: {error}", where=str(cache.folder), hint=hint
        ) from error
    held = several(entries, "entry", "entries")
    return f"the cache at {cache.folder} is empty: {held} removed, {size(total)}"

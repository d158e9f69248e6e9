"""How much memory there is, and whether a run fits into it."""

from __future__ import annotations

from pathlib import Path

from backends.room import Room

MARGIN = 0.15
"""How far an estimate may lie off what is measured. A run is refused where even so much less than
its estimate has no room; between that and what there is, it is said that it may not fit."""

CGROUP_LIMITS = (
    Path("/sys/fs/cgroup/memory.max"),
    Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"),
)
"""Where Linux tells a container's limit, by either of its interfaces."""


def main_memory() -> Room:
    """What this process may come to hold: what is free or can be freed at once, as the system
    tells it, and what it holds already; no more than its container's limit. Swap does not count:
    training in it takes forever."""
    import psutil

    free = int(psutil.virtual_memory().available)
    size = free + int(psutil.Process().memory_info().rss)
    limit = _limit()
    if limit is not None and limit < size:
        return Room(limit, "the container's limit")
    return Room(size, "free of this machine's memory")


def fits(need: int, room: Room | None) -> bool:
    """The estimate as it stands; where nobody tells how much there is, everything fits."""
    return room is None or need <= room.size


def surely_not(need: int, room: Room | None) -> bool:
    """Not even less than the estimate, by the margin."""
    return room is not None and need * (1 - MARGIN) > room.size


def _limit() -> int | None:
    for file in CGROUP_LIMITS:
        if file.is_file():
            told = file.read_text("ascii").strip()
            return int(told) if told.isdigit() else None
    return None

"""How much memory there is, and whether a run fits into it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from backends.room import Room

MARGIN = 0.15
"""How far an estimate may lie off what is measured. A run is refused where even so much less than
its estimate has no room; between that and what there is, it is said that it may not fit."""

OWN_GROUPS = Path("/proc/self/cgroup")
"""Which groups this process is in, as Linux tells it."""


@dataclass(frozen=True)
class Groups:
    """One of Linux's two interfaces to the memory of groups of processes, containers among them.
    `name`: of the controller in OWN_GROUPS. `limit` and `used`: files with bytes in a group's
    folder below `root`; `idle`: the line of memory.stat with the bytes of files that were read
    once and can be dropped at once, which `used` counts too."""

    name: str
    root: Path
    limit: str
    used: str
    idle: str

    def left(self, own: str) -> int | None:
        """Bytes left in the group `own` and those that it is part of; None without a limit. A
        container may see its own group as the root and be told its name outside."""
        path = PurePosixPath(own.strip().lstrip("/"))
        folders = [self.root / part for part in (path, *path.parents)]
        found = [left for folder in folders if (left := self._left(folder)) is not None]
        return min(found, default=None)

    def _left(self, folder: Path) -> int | None:
        limit, used = _number(folder / self.limit), _number(folder / self.used)
        if limit is None or used is None:
            return limit
        lines = _text(folder / "memory.stat").splitlines()
        idle = dict(line.split() for line in lines if len(line.split()) == 2).get(self.idle, "0")
        return max(0, limit - max(0, used - int(idle)))


GROUPS = (
    Groups("", Path("/sys/fs/cgroup"), "memory.max", "memory.current", "inactive_file"),
    Groups(
        "memory",
        Path("/sys/fs/cgroup/memory"),
        "memory.limit_in_bytes",
        "memory.usage_in_bytes",
        "total_inactive_file",
    ),
)


def main_memory() -> Room:
    """What this process may come to hold: what is free or can be freed at once, as the system
    tells it, and what it holds already; the same of its container's limit where that is less. Swap
    does not count: training in it takes forever."""
    import psutil

    held = int(psutil.Process().memory_info().rss)
    free = int(psutil.virtual_memory().available)
    left = _left_in_container()
    if left is not None and left < free:
        return Room(left + held, "left of the container's limit")
    return Room(free + held, "free of this machine's memory")


def fits(need: int, room: Room | None) -> bool:
    """The estimate as it stands; where nobody tells how much there is, everything fits."""
    return room is None or need <= room.size


def surely_not(need: int, room: Room | None) -> bool:
    """Not even less than the estimate, by the margin."""
    return room is not None and need * (1 - MARGIN) > room.size


def _left_in_container() -> int | None:
    """By whichever interface there is."""
    lines = [line.split(":", 2) for line in _text(OWN_GROUPS).splitlines()]
    found = [
        left
        for _, names, own in (line for line in lines if len(line) == 3)
        for groups in GROUPS
        if groups.name in names.split(",") and (left := groups.left(own)) is not None
    ]
    return min(found, default=None)


def _number(file: Path) -> int | None:
    """None where there is no such file, or it says `max`."""
    told = _text(file).strip()
    return int(told) if told.isdigit() else None


def _text(file: Path) -> str:
    """ "" where the system tells nothing of the kind."""
    try:
        return file.read_text("utf-8")
    except OSError:
        return ""

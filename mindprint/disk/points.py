"""The moments between which a process can die while it writes."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

Point = Literal["begun", "written", "synced", "renamed", "done"]


def reached(point: Point, path: Path) -> None:
    """Called at each moment of writing `path`: nothing happens here, and tests put crashes in its
    place. `begun`: nothing is on the disk yet; `written`: all bytes under the temporary name;
    `synced`: they are on the disk; `renamed`: the name is there; `done`: and on the disk too."""

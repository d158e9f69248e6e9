"""What a worker really did, counted from what it fed, and what its process takes."""

from __future__ import annotations

import resource
import sys
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import psutil


@dataclass
class Work:
    """Rows fed in training steps. `tokens`: targets the loss was taken over; `digest`: sum of the
    rows' checksums, so that two sides that fed the same ids in any order have the same."""

    rows: int = 0
    tokens: int = 0
    digest: int = 0

    def row(self, ids: Sequence[int], trained: int) -> None:
        """One row without its padding, and how many of its tokens were targets."""
        self.rows += 1
        self.tokens += trained
        self.digest += zlib.crc32(np.asarray(ids, dtype=np.int32).tobytes())

    @property
    def details(self) -> dict[str, Any]:
        return {"digest": self.digest}


def resident() -> int:
    """Bytes of this process that are in memory now."""
    return int(psutil.Process().memory_info().rss)


def peak() -> int:
    """The most bytes that this program ever had in memory.

    On Linux as the kernel counts it for this program alone: `ru_maxrss` outlives exec, so that a
    worker started by a large process would report its parent's.
    """
    status = Path("/proc/self/status")
    if status.is_file():
        found = [line for line in status.read_text().splitlines() if line.startswith("VmHWM:")]
        return int(found[0].split()[1]) * 1024
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def versions(*packages: str) -> dict[str, str]:
    """Installed versions by package name. Raises PackageNotFoundError."""
    return {name: metadata.version(name) for name in packages}

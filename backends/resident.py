"""How much of this process is in memory, as the system counts it."""

from __future__ import annotations

import platform
from pathlib import Path
from typing import Any

import psutil

STATUS = Path("/proc/self/status")


def resident() -> int:
    """Bytes in memory now."""
    return int(psutil.Process().memory_info().rss)


def peak() -> int:
    """The most bytes that this program ever had in memory.

    On Linux the kernel's mark for this program alone (VmHWM): `ru_maxrss` outlives exec, so that
    what a large process starts would tell of its parent.
    """
    if platform.system() == "Windows":
        counted: Any = psutil.Process().memory_info()
        return int(counted.peak_wset)
    if STATUS.is_file():
        found = [line for line in STATUS.read_text().splitlines() if line.startswith("VmHWM:")]
        if found:
            return int(found[0].split()[1]) * 1024
    import resource  # Windows has none

    most = int(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
    return most if platform.system() == "Darwin" else most * 1024  # KiB on Linux

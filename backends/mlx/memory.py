"""What memory is in use."""

from __future__ import annotations

import platform
import resource

import psutil

from backends.contract import Memory
from backends.mlx.framework import mx


def memory() -> Memory:
    """Bytes of this process, and of MLX's arrays as MLX counts them (on the CPU too)."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return Memory(
        rss=int(psutil.Process().memory_info().rss),
        peak_rss=int(peak) if platform.system() == "Darwin" else int(peak) * 1024,  # KiB on Linux
        device=int(mx.get_active_memory()),
        device_peak=int(mx.get_peak_memory()),
    )

"""What memory is in use."""

from __future__ import annotations

from backends import resident
from backends.contract import Memory
from backends.mlx.framework import mx


def memory() -> Memory:
    """Bytes of this process, and of MLX's arrays as MLX counts them (on the CPU too)."""
    return Memory(
        rss=resident.resident(),
        peak_rss=resident.peak(),
        device=int(mx.get_active_memory()),
        device_peak=int(mx.get_peak_memory()),
    )

"""How much memory a GPU offers to MLX."""

from __future__ import annotations

from backends.mlx.framework import mx
from backends.room import Room

WORKING_SET, TOTAL = "max_recommended_working_set_size", "memory_size"


def room(device: str) -> Room | None:
    """The working set that Metal recommends, else all that the device has."""
    if device != "gpu" or not (mx.metal.is_available() or mx.cuda.is_available()):
        return None
    told = mx.device_info()
    if told.get(WORKING_SET):
        return Room(int(told[WORKING_SET]), "Metal's recommended working set")
    return Room(int(told[TOTAL]), "on the device") if told.get(TOTAL) else None

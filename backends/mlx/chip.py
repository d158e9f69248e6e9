"""Which GPU computes: its kernels, and so the last digits, go by it."""

from __future__ import annotations

from backends.mlx.framework import mx

TELLING = ("device_name", "architecture", "compute_capability_major", "compute_capability_minor")
"""What MLX says of a device that does not change as the device is used."""


def chip(device: str) -> str:
    """Name and architecture of the GPU; "" on the CPU."""
    if device != "gpu":
        return ""
    told = mx.device_info()
    return ", ".join(f"{name} {told[name]}" for name in TELLING if name in told)

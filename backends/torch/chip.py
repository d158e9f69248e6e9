"""Which GPU computes: its kernels, and so the last digits, go by it."""

from __future__ import annotations

import torch


def chip(device: str) -> str:
    """Name, compute capability, number of multiprocessors and CUDA's version; "" where the device
    is no CUDA one (Metal's is the machine's own chip)."""
    if device != "cuda":
        return ""
    told = torch.cuda.get_device_properties(torch.cuda.current_device())
    kind = f"{told.name} {told.major}.{told.minor}"
    return f"{kind}, {told.multi_processor_count} multiprocessors, CUDA {torch.version.cuda}"

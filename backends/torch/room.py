"""How much memory a CUDA device or Metal offers to PyTorch."""

from __future__ import annotations

import torch

from backends.room import Room


def room(device: str) -> Room | None:
    """What is free on a CUDA device now, with what this process holds there; on Metal, the working
    set that the system recommends."""
    if device == "cuda" and torch.cuda.is_available():
        free, total = torch.cuda.mem_get_info()
        size = free + torch.cuda.memory_reserved()
        return Room(int(size), f"free on a CUDA device of {total / 1e9:.1f} GB")
    if device == "mps" and torch.backends.mps.is_available():
        return Room(int(torch.mps.recommended_max_memory()), "Metal's recommended working set")
    return None

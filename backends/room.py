"""How much memory a device offers, asked before a model is opened."""

from __future__ import annotations

import importlib
from dataclasses import dataclass

TABLE = {
    "mlx": "backends.mlx.room:room",
    "torch": "backends.torch.room:room",
}


@dataclass(frozen=True)
class Room:
    """`size` in bytes, as `told` says it was found."""

    size: int
    told: str


def room(backend: str, device: str) -> Room | None:
    """Of a device of that backend, other than the CPU; None where nobody tells."""
    module, _, name = TABLE[backend].partition(":")
    found: Room | None = getattr(importlib.import_module(module), name)(device)
    return found

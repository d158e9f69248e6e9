"""What a worker really did, counted from what it fed, and what its process takes."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import metadata
from typing import Any

import numpy as np

from backends.resident import peak, resident

__all__ = ["Work", "peak", "resident", "versions"]


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


def versions(*packages: str) -> dict[str, str]:
    """Installed versions by package name. Raises PackageNotFoundError."""
    return {name: metadata.version(name) for name in packages}

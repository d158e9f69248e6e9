"""What a process takes before it holds a weight: Python, mindprint and a framework, as imported."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

MIB = 1 << 20


@dataclass(frozen=True)
class Baseline:
    """`size`: bytes of a process in which a model of a few weights was opened and run once.
    `versions`: of the libraries that were there, on Linux x86-64 with Python 3.11."""

    size: int
    versions: Mapping[str, str] = field(default_factory=dict)


MEASURED = {
    "torch": Baseline(
        size=357 * MIB,
        versions={"torch": "2.13.0+cpu", "transformers": "5.23.0", "peft": "0.21.2"},
    ),
    "mlx": Baseline(
        size=213 * MIB,
        versions={"mlx": "0.32.4", "mlx-lm": "0.32.2", "transformers": "5.23.0"},
    ),
}
"""`python scripts/timing/memory.py --baseline` measures them."""


def framework(backend: str) -> int:
    """Bytes of a process on the CPU."""
    return MEASURED[backend].size

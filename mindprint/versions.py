"""Versions of what shapes the numbers and is installed."""

from __future__ import annotations

import importlib.metadata
import platform
from collections.abc import Iterable

from mindprint import __version__

SHAPING = (
    "numpy",
    "scipy",
    "scikit-learn",
    "rapidfuzz",
    "transformers",
    "tokenizers",
    "safetensors",
)
"""Libraries whose numbers or ids stand in a run, beside the backend's own."""

FRAMEWORKS = ("torch", "peft", "trl", "bitsandbytes", "mlx", "mlx-lm")


def installed(names: Iterable[str]) -> dict[str, str]:
    """mindprint's version, and those of `names` that are here."""
    found = {"mindprint": __version__}
    for name in names:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue  # it is optional
    return found


def versions() -> dict[str, str]:
    """Python's and all libraries', for a report."""
    return {**installed((*SHAPING, *FRAMEWORKS)), "python": platform.python_version()}

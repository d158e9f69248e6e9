"""An adapter that no longer trains: its name, its spec and its tensors as they were trained."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from backends import lora
from backends.contract import AdapterSpec, Params

Factors = Sequence[tuple[Any, Any]]
"""(A float32 [rank, in], B float32 [out, rank] with the scale folded in) pairs."""


@dataclass(frozen=True)
class Frozen:
    """`params` are by contract name, B without the scale."""

    name: str
    spec: AdapterSpec
    params: Params

    def paths(self) -> list[str]:
        return sorted(lora.paths_of(self.params))

    def factors(self, path: str) -> tuple[Any, Any]:
        """A and scale * B of one layer, float32 on the CPU."""
        a = torch.from_numpy(self.params[lora.name_a(path)].copy())
        b = torch.from_numpy(self.params[lora.name_b(path)] * np.float32(self.spec.scale))
        return a, b


def by_path(adapters: Sequence[Frozen]) -> dict[str, list[tuple[Any, Any]]]:
    """Layer path -> the factors of all `adapters` there, in their order."""
    found: dict[str, list[tuple[Any, Any]]] = {}
    for adapter in adapters:
        for path in adapter.paths():
            found.setdefault(path, []).append(adapter.factors(path))
    return found

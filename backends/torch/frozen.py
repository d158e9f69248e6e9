"""An adapter that no longer trains: its name, its spec and its tensors as they were trained."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from backends import lora
from backends.contract import AdapterSpec, Params
from backends.torch.chain import Entry


@dataclass(frozen=True)
class Frozen:
    """`params` are by contract name, B without the scale."""

    name: str
    spec: AdapterSpec
    params: Params

    def paths(self) -> list[str]:
        return sorted(lora.paths_of(self.params))

    def entry(self, path: str) -> Entry:
        """What it is on one layer, float32 on the CPU, the scale folded into B."""
        return Entry(
            a=self._tensor(lora.name_a(path)),
            b=torch.from_numpy(self.params[lora.name_b(path)] * np.float32(self.spec.scale)),
            magnitudes=self._tensor(lora.name_m(path)),
            spline=self.spec.spline,
            values=self._tensor(lora.name_v(path)),
            scales=self._tensor(lora.name_s(path)),
        )

    def _tensor(self, name: str) -> Any:
        return torch.from_numpy(self.params[name].copy()) if name in self.params else None


def by_path(adapters: Sequence[Frozen]) -> dict[str, list[Entry]]:
    """Layer path -> what all `adapters` are there, in their order."""
    found: dict[str, list[Entry]] = {}
    for adapter in adapters:
        for path in adapter.paths():
            found.setdefault(path, []).append(adapter.entry(path))
    return found

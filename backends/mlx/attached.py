"""An adapter as MLX arrays."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from backends import lora
from backends.contract import AdapterSpec, Params
from backends.mlx.chain import Entry
from backends.mlx.framework import mx
from backends.mlx.spline import Curve

Factors = dict[str, mx.array]


@dataclass(frozen=True)
class Attached:
    """An adapter's tensors by contract name, float32, B without its scale."""

    name: str
    spec: AdapterSpec
    tensors: Factors

    def entry(self, path: str) -> Entry | None:
        """What it adds to the chain of a layer, if it covers it."""
        a = self.tensors.get(lora.name_a(path))
        if a is None:
            return None
        b = self.spec.scale * self.tensors[lora.name_b(path)]
        return Entry(a, b, self.tensors.get(lora.name_m(path)), self._curve(path))

    def _curve(self, path: str) -> Curve | None:
        if self.spec.spline is None:
            return None
        values, scales = self.tensors[lora.name_v(path)], self.tensors[lora.name_s(path)]
        return Curve(self.spec.spline, values, scales)


def entries_of(adapters: Iterable[Attached], path: str) -> list[Entry]:
    """What these adapters hold for a layer, in order."""
    return [entry for one in adapters if (entry := one.entry(path)) is not None]


def names_of(adapters: Iterable[Attached]) -> tuple[str, ...]:
    return tuple(one.name for one in adapters)


def leaves(spec: AdapterSpec) -> tuple[str, ...]:
    """What a layer calls the tensors that an adapter has on it: contract names without the path."""
    return tuple(name.removeprefix(".") for name in lora.shapes(spec, "", 0, 0))


def to_mlx(tensors: Params) -> Factors:
    held = {name: mx.array(array) for name, array in tensors.items()}
    mx.eval(held)
    return held


def to_numpy(tensors: Factors) -> Params:
    return {name: np.array(array, dtype=np.float32) for name, array in tensors.items()}

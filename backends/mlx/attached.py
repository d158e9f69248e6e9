"""An adapter as MLX arrays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from backends import lora
from backends.contract import AdapterSpec, Params
from backends.mlx.framework import mx

Factors = dict[str, mx.array]
Pair = tuple[mx.array, mx.array]
"""(A [rank, in], B [out, rank]) of one layer."""


@dataclass(frozen=True)
class Attached:
    """An adapter's tensors by contract name, float32, B without its scale."""

    name: str
    spec: AdapterSpec
    tensors: Factors

    def pair(self, path: str) -> Pair | None:
        """(A, scale B) of a layer, if the adapter covers it."""
        a = self.tensors.get(lora.name_a(path))
        return None if a is None else (a, self.spec.scale * self.tensors[lora.name_b(path)])


def pairs_of(adapters: Sequence[Attached], path: str) -> list[Pair]:
    """What these adapters hold for a layer, in order."""
    return [pair for one in adapters if (pair := one.pair(path)) is not None]


def names_of(adapters: Sequence[Attached]) -> tuple[str, ...]:
    return tuple(one.name for one in adapters)


def concatenated(pairs: list[Pair], dtype: mx.Dtype) -> Pair | None:
    """One A [sum of ranks, in] and B [out, sum of ranks]: exact, and one product for all."""
    if not pairs:
        return None
    a = mx.concatenate([a for a, _ in pairs], axis=0).astype(dtype)
    b = mx.concatenate([b for _, b in pairs], axis=1).astype(dtype)
    mx.eval(a, b)
    return a, b


def to_mlx(tensors: Params) -> Factors:
    held = {name: mx.array(array) for name, array in tensors.items()}
    mx.eval(held)
    return held


def to_numpy(tensors: Factors) -> Params:
    return {name: np.array(array, dtype=np.float32) for name, array in tensors.items()}

"""What lies below the adapter in training, layer by layer: base weights and the frozen past."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from backends.mlx import base_weight
from backends.mlx.attached import Attached, entries_of
from backends.mlx.chain import Chain, compose
from backends.mlx.dora import Ground
from backends.mlx.framework import mx, nn


class Below:
    """The squared norms of a base weight's rows are kept once a DoRA has asked for them."""

    def __init__(self, linears: Mapping[str, nn.Module]) -> None:
        self._linears = linears
        self._squares: dict[str, mx.array] = {}

    def forget(self) -> None:
        """The base weights are about to change, or have changed."""
        self._squares.clear()

    def chain(self, path: str, past: Sequence[Attached]) -> Chain | None:
        """Of these frozen adapters on a layer, float32 and evaluated."""
        entries = entries_of(past, path)
        return compose(entries, self._linears[path], lambda: self._of(path))

    def ground(self, path: str, chain: Chain | None) -> Ground:
        """What a DoRA over `chain` brings to its magnitudes, evaluated."""
        parts = (None, None, None) if chain is None else (chain.c, chain.a, chain.b)
        found = Ground.over(self._linears[path], self._of(path), *parts)
        mx.eval(found.squares)
        return found

    def norms(self, path: str, past: Sequence[Attached]) -> NDArray[np.float32]:
        """[out]: of the rows of a layer's weight with all of `past` in it."""
        return np.array(self.ground(path, self.chain(path, past)).norms())

    def _of(self, path: str) -> mx.array:
        if path not in self._squares:
            self._squares[path] = base_weight.squares(self._linears[path])
        return self._squares[path]

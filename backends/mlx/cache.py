"""A key-value cache for rows of different lengths, exact for rotations and windows.

Prompts are padded on the right and stay where they are; what is generated follows in columns
shared by all rows. So a column before `width` is a row's own token at that position or padding,
and column `width + j` is its token at position `length + j`.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from backends.mlx.framework import mx
from backends.mlx.model import Mask
from backends.mlx.plan import FULL, SLIDING

GROW = 128  # columns allocated at a time


class LayerCache:
    """One layer's keys and values. `offset` is what mlx-lm's layers rotate new tokens by: an int,
    or int32 [rows]."""

    def __init__(self) -> None:
        self.offset: int | mx.array = 0
        self._keys: mx.array | None = None
        self._values: mx.array | None = None
        self._used = 0

    def update_and_fetch(self, keys: mx.array, values: mx.array) -> tuple[mx.array, mx.array]:
        """Append [rows, heads, new, features]; all columns so far."""
        start, self._used = self._used, self._used + keys.shape[2]
        self._keys = _stored(self._keys, keys, start)
        self._values = _stored(self._values, values, start)
        return self._keys[:, :, : self._used], self._values[:, :, : self._used]

    def keep(self, rows: mx.array) -> None:
        """Drop all rows but these."""
        if self._keys is not None and self._values is not None:
            self._keys, self._values = self._keys[rows], self._values[rows]

    def held(self) -> list[mx.array]:
        return [array for array in (self._keys, self._values) if array is not None]


def _stored(buffer: mx.array | None, new: mx.array, start: int) -> mx.array:
    """`new` written from column `start`, into a larger buffer where there is no room."""
    rows, heads, count, features = new.shape
    held = [] if buffer is None else [buffer]
    size = 0 if buffer is None else buffer.shape[2]
    more = -(-max(0, start + count - size) // GROW) * GROW
    if more:
        held.append(mx.zeros((rows, heads, more, features), dtype=new.dtype))
    grown = held[0] if len(held) == 1 else mx.concatenate(held, axis=2)
    grown[:, :, start : start + count] = new
    return grown


class Cache:
    """All layers' caches for rows whose prompts have `lengths` (int [rows])."""

    def __init__(self, layers: int, lengths: NDArray[np.int64], window: int | None) -> None:
        self.layers = [LayerCache() for _ in range(layers)]
        self._lengths = lengths
        self._width = int(lengths.max())
        self._window = window
        self._new = 0

    def advance(self) -> dict[str, Mask]:
        """Make ready for one more token a row: rotations' offsets, and masks by kind of layer."""
        offset = mx.array((self._lengths + self._new).astype(np.int32))
        for layer in self.layers:
            layer.offset = offset
        self._new += 1
        shared = np.arange(self._new)
        own = np.broadcast_to(np.arange(self._width), (len(self._lengths), self._width))
        place = np.concatenate([own, self._lengths[:, None] + shared], axis=1)
        seen = np.ones(place.shape, dtype=bool)
        seen[:, : self._width] = own < self._lengths[:, None]
        masks: dict[str, Mask] = {FULL: _mask(seen), SLIDING: None}
        if self._window is not None:
            newest = place[:, -1:]
            masks[SLIDING] = _mask(seen & (place > newest - self._window))
        return masks

    def keep(self, rows: list[int]) -> None:
        self._lengths = self._lengths[rows]
        index = mx.array(rows)
        for layer in self.layers:
            layer.keep(index)

    def held(self) -> list[list[mx.array]]:
        """Every layer's arrays, to be evaluated with what was made of them."""
        return [layer.held() for layer in self.layers]


def _mask(seen: NDArray[np.bool_]) -> Mask:
    """Bool [rows, 1, 1, columns], or None where every column is seen."""
    return None if seen.all() else mx.array(seen[:, None, None, :])

"""A key-value cache for rows of different lengths, exact for rotations and windows.

Prompts are padded on the right, and what is generated follows in columns shared by all rows. Every
row knows which position each column holds, or that it is padding, so rows that begin later join by
padding on the left.
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

    def spread(self, rows: int) -> LayerCache:
        """The one row held, for `rows` rows."""
        made = LayerCache()
        made._keys, made._values = (mx.repeat(array, rows, axis=0) for array in self._columns())
        made._used = self._used
        return made

    def keep(self, rows: mx.array) -> None:
        """Drop all rows but these."""
        if self._keys is not None and self._values is not None:
            self._keys, self._values = self._keys[rows], self._values[rows]

    def join(self, other: LayerCache, width: int) -> None:
        """Take up another's rows, all of them in the last of `width` columns."""
        pairs = zip(self._columns(), other._columns(), strict=True)
        self._keys, self._values = (
            mx.concatenate([_fitted(one, width), _fitted(two, width)], axis=0) for one, two in pairs
        )
        self._used = width

    def held(self) -> list[mx.array]:
        return [array for array in (self._keys, self._values) if array is not None]

    def _columns(self) -> list[mx.array]:
        return [array[:, :, : self._used] for array in self.held()]


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


def _fitted(held: mx.array, width: int) -> mx.array:
    """The last `width` columns, with zeros before them where there are fewer."""
    size = held.shape[2]
    if size >= width:
        return held[:, :, size - width :]
    return mx.pad(held, [(0, 0), (0, 0), (width - size, 0), (0, 0)])


class Cache:
    """All layers' caches, empty at first; `window` is that of the sliding layers, in tokens."""

    def __init__(self, layers: int, window: int | None) -> None:
        self.layers = [LayerCache() for _ in range(layers)]
        self._window = window
        self._place = np.zeros((1, 0), dtype=np.int64)
        """Position of the token in each column, -1 for padding: [rows, columns]."""

    def spread(self, rows: int) -> Cache:
        """The one row held, for `rows` rows that begin with it."""
        made = Cache(0, self._window)
        made.layers = [layer.spread(rows) for layer in self.layers]
        made._place = np.repeat(self._place, rows, axis=0)
        return made

    def prompts(self, lengths: NDArray[np.int64]) -> dict[str, Mask]:
        """Make ready for prompts (or what follows a beginning they share) of `lengths` tokens,
        padded on the right: masks by kind of layer. What stands before a token never is padding,
        so a causal mask suffices; a sliding layer also forgets."""
        start, width = self._place.shape[1], int(lengths.max())
        column = np.arange(width)
        new = np.where(column < lengths[:, None], start + column, -1)
        old = np.broadcast_to(self._place, (len(lengths), start))
        self._place = np.concatenate([old, new], axis=1)
        for layer in self.layers:
            layer.offset = start
        masks: dict[str, Mask] = {FULL: "causal", SLIDING: "causal"}
        if self._window is not None and start + width > self._window:
            back = start + column[:, None] - np.arange(start + width)
            masks[SLIDING] = mx.array((back >= 0) & (back < self._window))
        return masks

    def advance(self) -> dict[str, Mask]:
        """Make ready for one more token a row: rotations' offsets, and masks by kind of layer."""
        newest = self._place.max(axis=1, keepdims=True) + 1
        offset = mx.array(newest[:, 0].astype(np.int32))
        for layer in self.layers:
            layer.offset = offset
        self._place = np.concatenate([self._place, newest], axis=1)
        seen = self._place >= 0
        masks: dict[str, Mask] = {FULL: _mask(seen), SLIDING: None}
        if self._window is not None:
            masks[SLIDING] = _mask(seen & (self._place > newest - self._window))
        return masks

    def keep(self, rows: list[int]) -> None:
        """Drop all rows but these."""
        if len(rows) == len(self._place):
            return
        self._place = self._place[rows]
        index = mx.array(rows, dtype=mx.int32)
        for layer in self.layers:
            layer.keep(index)

    def join(self, other: Cache) -> None:
        """Take up rows that were begun apart, below these, without the columns before the first
        that any row still uses."""
        width = max(self._place.shape[1], other._place.shape[1])
        place = np.concatenate([_padded(self._place, width), _padded(other._place, width)], axis=0)
        self._place = place[:, int((place >= 0).any(axis=0).argmax()) :]
        for layer, own in zip(self.layers, other.layers, strict=True):
            layer.join(own, self._place.shape[1])

    def held(self) -> list[list[mx.array]]:
        """Every layer's arrays, to be evaluated with what was made of them."""
        return [layer.held() for layer in self.layers]


def _padded(place: NDArray[np.int64], width: int) -> NDArray[np.int64]:
    return np.pad(place, ((0, 0), (width - place.shape[1], 0)), constant_values=-1)


def _mask(seen: NDArray[np.bool_]) -> Mask:
    """Bool [rows, 1, 1, columns], or None where every column is seen."""
    return None if seen.all() else mx.array(seen[:, None, None, :])

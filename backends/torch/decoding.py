"""Rows that are being decoded: their key-value cache, which columns they see, where they stand.

Every row ends in the last column, so rows that begin later join by padding on the left; rotations
go by each row's own positions and windows by columns, neither of which a shift of columns changes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from transformers import DynamicCache

from backends.torch.model import Opened


@dataclass(frozen=True)
class Prefix:
    """The tokens that all prompts of a call begin with, and each layer's keys and values of them,
    [1, heads, length, features]."""

    length: int
    layers: tuple[tuple[Any, Any], ...]


@dataclass
class Rows:
    """`seen` int64 [rows, columns] of what the cache holds; `places` int64 [rows, 1]: the position
    of each row's newest token."""

    cache: DynamicCache
    seen: Any
    places: Any

    def step(self, opened: Opened, tokens: Sequence[int]) -> Any:
        """One token more a row; last states [rows, hidden]."""
        ids = torch.tensor(tokens, device=self.seen.device)[:, None]
        self.seen = torch.cat([self.seen, torch.ones_like(self.seen[:, :1])], dim=1)
        self.places = self.places + 1
        return _last(opened, ids, self.seen, self.places, self.cache)

    def keep(self, going: Sequence[int]) -> None:
        """Drop all rows but these."""
        if len(going) == len(self.seen):
            return
        index = torch.tensor(going, dtype=torch.int64, device=self.seen.device)
        self.cache.batch_select_indices(index)
        self.seen, self.places = self.seen[index], self.places[index]

    def join(self, others: Rows) -> None:
        """Take up rows that were begun apart, below these."""
        width = max(self.seen.shape[1], others.seen.shape[1])
        parts = (_fitted(self.seen, width, 1), _fitted(others.seen, width, 1))
        seen = torch.cat(parts, dim=0)
        unused = int(seen.any(dim=0).int().argmax())  # columns that only ended rows had used
        self.seen = seen[:, unused:]
        self.places = torch.cat([self.places, others.places], dim=0)
        for layer, other in zip(self.cache.layers, others.cache.layers, strict=True):
            _join(layer, other, width - unused)


def prefix_of(opened: Opened, ids: Sequence[int]) -> Prefix:
    """Run `ids` once, alone. All columns are kept: rows of unlike lengths need unlike windows."""
    cache = DynamicCache()
    opened.hidden(
        torch.tensor([list(ids)], device=opened.device), past_key_values=cache, use_cache=True
    )
    return Prefix(len(ids), tuple((layer.keys, layer.values) for layer in cache.layers))


def begin(
    opened: Opened, prompts: Sequence[Sequence[int]], prefix: Prefix | None
) -> tuple[Rows, Any]:
    """Rows for `prompts`, which all begin with `prefix`, and their last states [rows, hidden]."""
    ids, seen = _left_padded(prompts, opened.device)
    # With the config, layers with a window keep no more than the window.
    cache = DynamicCache(config=opened.model.config)
    places = (seen.cumsum(dim=1) - 1).clamp(min=0)
    start = 0
    if prefix is not None:
        start = prefix.length
        _spread(prefix, seen, cache)
    states = _last(opened, ids[:, start:], seen, places[:, start:], cache)
    return Rows(cache, seen, places[:, -1:]), states


def _spread(prefix: Prefix, seen: Any, cache: DynamicCache) -> None:
    """Lay the prefix's columns where left padding puts them: a row whose padding is p columns
    wide has its first length - p there, and the others go through the model with its rest."""
    pad = seen.shape[1] - seen.sum(dim=1)
    column = torch.arange(prefix.length, device=seen.device)
    source = (column[None] - pad[:, None]).clamp(min=0)
    for index, (keys, values) in enumerate(prefix.layers):
        spread = [part[0][:, source].transpose(0, 1) for part in (keys, values)]
        cache.update(*spread, index)


def _last(opened: Opened, ids: Any, seen: Any, places: Any, cache: DynamicCache) -> Any:
    hidden = opened.hidden(
        ids, attention_mask=seen, position_ids=places, past_key_values=cache, use_cache=True
    )
    return hidden[:, -1]


def _join(layer: Any, other: Any, width: int) -> None:
    """A layer's rows and another's, as if all had begun in a cache of `width` columns."""
    columns = width
    if layer.is_sliding:
        columns = min(width, layer.sliding_window - 1)
        layer.cumulative_length = width
    for name in ("keys", "values"):
        both = [_fitted(getattr(one, name), columns, 2) for one in (layer, other)]
        setattr(layer, name, torch.cat(both, dim=0))


def _fitted(held: Any, columns: int, axis: int) -> Any:
    """The last `columns` along `axis`, with zeros before them where there are fewer."""
    size = held.shape[axis]
    if size >= columns:
        return held.narrow(axis, size - columns, columns)
    shape = list(held.shape)
    shape[axis] = columns - size
    return torch.cat([held.new_zeros(shape), held], dim=axis)


def _left_padded(prompts: Sequence[Sequence[int]], device: Any) -> tuple[Any, Any]:
    """Ids and attention mask, int64 [rows, width], every prompt ending in the last column."""
    width = max(len(prompt) for prompt in prompts)
    ids = np.zeros((len(prompts), width), dtype=np.int64)
    seen = np.zeros_like(ids)
    for row, prompt in enumerate(prompts):
        ids[row, width - len(prompt) :] = prompt
        seen[row, width - len(prompt) :] = 1
    return torch.from_numpy(ids).to(device), torch.from_numpy(seen).to(device)

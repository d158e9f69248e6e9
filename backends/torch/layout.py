"""Where a batch's tokens stand when they go through the model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from backends import prefix
from backends.contract import Batch

WIDTH_STEP = 8
"""Rows that share a prompt are padded to a multiple of this."""


@dataclass(frozen=True)
class Layout:
    """Tokens on the device, int64, and how the batch's trained tokens are found among them.

    `ids` [rows, width] is what the model reads. `before` (row, place) are the positions that
    predict the trained tokens, `targets` are these tokens, and `own` (row, place) is where they
    stand in the batch, whose shape is `shape`; all in the batch's order. `places` and `segments`
    [rows, width] are set where rows hold several answers: a token's place in its own text, and 0
    for the prompt, 1, 2, ... for its answers, -1 for padding.
    """

    ids: Any
    before: tuple[Any, Any]
    targets: Any
    own: tuple[Any, Any]
    shape: tuple[int, int]
    places: Any = None
    segments: Any = None


def plain(batch: Batch, device: Any) -> Layout:
    """Every row by itself."""
    row, place = batch.mask.nonzero()
    return Layout(
        ids=_put(batch.ids, device),
        before=(_put(row, device), _put(place - 1, device)),
        targets=_put(batch.ids[row, place], device),
        own=(_put(row, device), _put(place, device)),
        shape=batch.ids.shape,
    )


def shared(batch: Batch, device: Any) -> Layout | None:
    """Rows that begin with the same prompt as one row, [prompt | answer | answer ...]; None where
    that does not pay."""
    found = prefix.shared(batch)
    if found is None:
        return None
    starts, lengths = _starts(found)
    width = -(-int(lengths.max()) // WIDTH_STEP) * WIDTH_STEP
    if len(lengths) * width > prefix.WORTH * batch.ids.size:
        return None
    ids = np.zeros((len(lengths), width), dtype=np.int64)
    places, segments = ids.copy(), np.full_like(ids, -1)
    for group, length in enumerate(found.prompt_lengths):
        ids[group, :length] = found.prompts[group, :length]
        places[group, :length], segments[group, :length] = np.arange(length), 0
    for row, (group, start) in enumerate(zip(found.owner, starts, strict=True)):
        here = slice(start, start + found.answer_lengths[row])
        ids[group, here] = found.answers[row, : found.answer_lengths[row]]
        places[group, here] = found.prompt_lengths[group] + np.arange(found.answer_lengths[row])
        segments[group, here] = row + 1
    rows, offset = found.mask.nonzero()
    own = (_put(rows, device), _put(offset + found.prompt_lengths[found.owner[rows]], device))
    return Layout(
        ids=_put(ids, device),
        before=(_put(found.owner[rows], device), _put(starts[rows] + offset - 1, device)),
        targets=_put(found.answers[rows, offset], device),
        own=own,
        shape=batch.ids.shape,
        places=_put(places, device),
        segments=_put(segments, device),
    )


def _starts(found: prefix.Shared) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Where each answer begins in its group's row, and how long these rows are."""
    ends = found.prompt_lengths.astype(np.int64)
    starts = np.zeros(len(found.owner), dtype=np.int64)
    for row, group in enumerate(found.owner):
        starts[row] = ends[group]
        ends[group] += found.answer_lengths[row]
    return starts, ends


def block_mask(layout: Layout, window: int | None) -> Any:
    """Bool [rows, 1, width, width]: which tokens (last axis) each token sees: those of its prompt
    and of its own answer, not later than itself and, with `window`, fewer than that many back."""
    mine, other = layout.segments[:, None, :, None], layout.segments[:, None, None, :]
    back = layout.places[:, None, :, None] - layout.places[:, None, None, :]
    # Padding sees padding: a row that saw nothing would be undefined.
    seen = ((other == mine) | ((other == 0) & (mine >= 0))) & (back >= 0)
    return seen if window is None else seen & (back < window)


def _put(values: NDArray[np.generic], device: Any) -> Any:
    return torch.from_numpy(np.ascontiguousarray(values, dtype=np.int64)).to(device)

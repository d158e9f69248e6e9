"""Columns, positions and masks of the key-value cache, against a loop over rows."""

from __future__ import annotations

import numpy as np
import pytest

from backends.mlx.cache import GROW, Cache, LayerCache
from backends.mlx.framework import mx
from backends.mlx.plan import FULL, SLIDING


def test_columns_are_kept_in_order_as_the_buffer_grows() -> None:
    rng = np.random.default_rng(0)
    cache, sizes = LayerCache(), [GROW - 1, 1, 1, GROW, 3]
    parts = [rng.standard_normal((2, 3, size, 4)).astype(np.float32) for size in sizes]
    for index, part in enumerate(parts):
        keys, values = cache.update_and_fetch(mx.array(part), mx.array(-part))
        so_far = np.concatenate(parts[: index + 1], axis=2)
        assert np.array_equal(np.array(keys), so_far)
        assert np.array_equal(np.array(values), -so_far)
    cache.keep(mx.array([1]))
    keys, _ = cache.update_and_fetch(mx.zeros((1, 3, 1, 4)), mx.zeros((1, 3, 1, 4)))
    assert np.array_equal(np.array(keys)[:, :, :-1], so_far[1:])


@pytest.mark.parametrize("window", [None, 1, 4, 100])
def test_masks_by_a_loop_over_rows(window: int | None) -> None:
    lengths = np.array([3, 1, 7, 5])
    cache, rows = Cache(1, lengths, window), list(range(4))
    for step in range(6):
        if step == 3:
            cache.keep([0, 2])
            rows = [0, 2]
        masks = cache.advance()
        columns = 7 + step + 1
        for at, row in enumerate(rows):
            newest = int(lengths[row]) + step
            assert int(np.array(cache.layers[0].offset)[at]) == newest
            place = [c if c < 7 else int(lengths[row]) + c - 7 for c in range(columns)]
            real = [c >= 7 or c < lengths[row] for c in range(columns)]
            for kind, span in ((FULL, None), (SLIDING, window)):
                wanted = [
                    ok and (span is None or p > newest - span)
                    for ok, p in zip(real, place, strict=True)
                ]
                mask = masks[kind]
                if kind == SLIDING and window is None:
                    assert mask is None
                else:
                    assert np.array(mask)[at, 0, 0].tolist() == wanted


def test_rows_of_one_length_need_no_mask() -> None:
    cache = Cache(2, np.array([4, 4]), 100)
    assert cache.advance() == {FULL: None, SLIDING: None}

"""Columns, positions and masks of the key-value cache, against a loop over rows."""

from __future__ import annotations

from typing import Any

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


KV = (3, 4)
"""Heads and features."""


def filled(cache: Cache, lengths: list[int], value: float = 1.0) -> dict[str, Any]:
    """Prompts of `lengths` laid into every layer, all keys `value`; their masks."""
    masks = cache.prompts(np.array(lengths))
    put(cache, np.full((len(lengths), 3, max(lengths), 4), value, np.float32))
    return masks


def put(cache: Cache, keys: np.ndarray[Any, Any]) -> mx.array:
    for layer in cache.layers:
        held, _ = layer.update_and_fetch(mx.array(keys), mx.array(-keys))
    return held


def wanted(places: list[list[int]], window: int | None) -> list[list[bool]]:
    """Which columns each row's newest token sees, by a loop."""
    return [[p >= 0 and (window is None or p > row[-1] - window) for p in row] for row in places]


def assert_masks(cache: Cache, places: list[list[int]], window: int | None) -> None:
    """The next token's masks and offsets, `places` with its column."""
    masks = cache.advance()
    assert np.array(cache.layers[0].offset).tolist() == [row[-1] for row in places]
    for kind, span in ((FULL, None), (SLIDING, window)):
        seen = wanted(places, span)
        if (kind == SLIDING and window is None) or all(map(all, seen)):
            assert masks[kind] is None
        else:
            assert np.array(masks[kind])[:, 0, 0].tolist() == seen
    put(cache, np.zeros((len(places), *KV[:1], 1, KV[1]), np.float32))


@pytest.mark.parametrize("window", [None, 1, 4, 100])
def test_masks_by_a_loop_over_rows(window: int | None) -> None:
    lengths = [3, 1, 7, 5]
    cache = Cache(1, window)
    filled(cache, lengths)
    places = [[c if c < length else -1 for c in range(7)] for length in lengths]
    for step in range(6):
        if step == 3:
            cache.keep([0, 2])
            places = [places[0], places[2]]
        places = [[*row, max(row) + 1] for row in places]
        assert_masks(cache, places, window)


@pytest.mark.parametrize("window", [None, 4, 100])
def test_rows_that_join_stand_in_the_last_columns(window: int | None) -> None:
    cache, late = Cache(2, window), Cache(2, window)
    filled(cache, [2, 5])
    for _ in range(3):
        cache.advance()
        put(cache, np.full((2, 3, 1, 4), 2.0, np.float32))
    cache.keep([1])
    filled(late, [4, 1, 3], value=3.0)
    cache.join(late)
    places = [
        [0, 1, 2, 3, 4, 5, 6, 7],
        [-1, -1, -1, -1, 0, 1, 2, 3],
        [-1, -1, -1, -1, 0, -1, -1, -1],
        [-1, -1, -1, -1, 0, 1, 2, -1],
    ]
    assert_masks(cache, [[*row, max(row) + 1] for row in places], window)
    keys = np.array(put(cache, np.zeros((4, 3, 1, 4), np.float32)))[:, 0, :8, 0]
    assert keys[0].tolist() == [1.0] * 5 + [2.0] * 3
    assert keys[1:].tolist() == [[0.0] * 4 + [3.0] * 4] * 3


def test_columns_that_only_ended_rows_used_are_given_up() -> None:
    cache, late = Cache(1, None), Cache(1, None)
    filled(cache, [9, 2])
    for _ in range(2):
        cache.advance()
        put(cache, np.zeros((2, 3, 1, 4), np.float32))
    cache.keep([])
    cache.join(filled_late(late))
    assert_masks(cache, [[0, 1, 2, 3], [0, -1, -1, 1]], None)


def filled_late(late: Cache) -> Cache:
    filled(late, [3, 1])
    return late


@pytest.mark.parametrize("window", [None, 2, 4, 100])
def test_what_prompts_share_is_before_every_row(window: int | None) -> None:
    shared = Cache(2, window)
    filled(shared, [3])
    cache = shared.spread(2)
    masks = filled(cache, [2, 4], value=5.0)
    assert cache.layers[0].offset == 3
    assert masks[FULL] == "causal"
    if window is not None and window < 7:
        seen = [[0 <= 3 + q - c < window for c in range(7)] for q in range(4)]
        assert np.array(masks[SLIDING]).tolist() == seen
    assert_masks(cache, [[0, 1, 2, 3, 4, -1, -1, 5], [0, 1, 2, 3, 4, 5, 6, 7]], window)
    again = np.array(put(shared, np.zeros((1, 3, 1, 4), np.float32)))
    assert again.shape[2] == 4, "spreading leaves what was spread as it was"


def test_rows_of_one_length_need_no_mask() -> None:
    cache = Cache(2, 100)
    filled(cache, [4, 4])
    assert cache.advance() == {FULL: None, SLIDING: None}

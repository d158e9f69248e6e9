"""Draws against the plain formula: sort everything, cut at top_p, invert the cumulative sum."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import pytest

from backends.contract import GenerateSpec
from backends.sampling import HEAD, draw


def logits(vocabulary: int, spread: float, seed: int = 0) -> np.ndarray[Any, Any]:
    rng = np.random.default_rng(seed)
    return (spread * rng.standard_normal(vocabulary)).astype(np.float32)


def plain_order(given: np.ndarray[Any, Any], spec: GenerateSpec) -> tuple[list[int], int]:
    """All ids, heaviest first, and how many of them are the nucleus."""
    scaled = given.astype(np.float64) / spec.temperature
    weights = np.exp(scaled - scaled.max())
    order = np.argsort(-weights, kind="stable")
    held = np.cumsum(weights[order] / weights.sum())
    return [int(token) for token in order], int(np.searchsorted(held, spec.top_p)) + 1


class Uniform:
    """A generator that gives one number."""

    def __init__(self, value: float) -> None:
        self.value = value

    def random(self) -> float:
        return self.value


# Below, within and past the slice that is sorted first; flat ones need the whole vocabulary.
SHAPES = [(5, 1.0), (300, 3.0), (20_000, 12.0), (20_000, 3.0), (40_000, 0.1)]


@pytest.mark.parametrize(("vocabulary", "spread"), SHAPES)
@pytest.mark.parametrize("top_p", [1e-6, 0.3, 0.9, 0.99])
def test_draws_stay_in_the_nucleus_and_reach_its_ends(
    vocabulary: int, spread: float, top_p: float
) -> None:
    given = logits(vocabulary, spread)
    spec = GenerateSpec(1, (), temperature=0.8, top_p=top_p)
    order, kept = plain_order(given, spec)
    first = draw(given, spec, cast(np.random.Generator, Uniform(0.0)))
    last = draw(given, spec, cast(np.random.Generator, Uniform(float(np.nextafter(1.0, 0.0)))))
    assert first == order[0]
    # Weights are float32 here and float64 there: thousands of near ties may change places.
    assert abs(order.index(last) - (kept - 1)) <= (0 if kept < HEAD else 3)


def test_frequencies_are_the_softmaxs() -> None:
    given = logits(8, 1.5)
    rng = np.random.default_rng(1)
    for top_p in (1.0, 0.8):
        spec = GenerateSpec(1, (), temperature=1.3, top_p=top_p)
        order, kept = plain_order(given, spec)
        nucleus = order[: kept if top_p < 1 else len(order)]
        weights = np.exp(given.astype(np.float64) / 1.3)[nucleus]
        counts = np.bincount([draw(given, spec, rng) for _ in range(20_000)], minlength=8)
        assert counts.sum() == counts[nucleus].sum()
        # 20,000 draws: a standard error of at most 0.0036 a token, four of them.
        assert np.abs(counts[nucleus] / 20_000 - weights / weights.sum()).max() < 0.015


def test_equal_logits_are_cut_in_the_order_of_their_ids() -> None:
    given = np.zeros(2000, dtype=np.float32)
    rng = np.random.default_rng(2)
    spec = GenerateSpec(1, (), temperature=1.0, top_p=0.25)
    drawn = {draw(given, spec, rng) for _ in range(5000)}
    assert max(drawn) < 500 and len(drawn) == 500


@pytest.mark.parametrize("top_p", [1.0, 0.9])
def test_a_token_of_no_weight_is_never_drawn(top_p: float) -> None:
    given = np.array([-np.inf, 1.0, -1e4, 1.0, -np.inf], dtype=np.float32)
    rng = np.random.default_rng(3)
    spec = GenerateSpec(1, (), temperature=1.0, top_p=top_p)
    assert {draw(given, spec, rng) for _ in range(300)} == {1, 3}


def test_greedy_takes_the_first_of_equal_ones() -> None:
    given = np.array([0.0, 2.0, 2.0, 1.0], dtype=np.float32)
    assert draw(given, GenerateSpec(1, ()), np.random.default_rng(0)) == 1

"""Bags of answers: which prompts a resample draws, how they are split, and bags of equal length.

A bag is a row of weights, one for each prompt; the counts of a bag are weights @ counts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mindprint.evals.text import normalise

Array = NDArray[np.float32]


@dataclass(frozen=True)
class Split:
    """`side` [prompts]: 1 where the author's answer is the reference, 0 where answers are tested.
    `order`: in which order test answers enter a bag until it is full."""

    side: Array
    order: NDArray[np.intp]


@dataclass(frozen=True)
class Draws:
    """`weights` [resamples, answers]: how often each answer is drawn. All answers to a prompt are
    drawn, and split, together."""

    weights: Array
    splits: tuple[Split, ...]
    prompts: int

    def fewer(self, resamples: int) -> Draws:
        """The first `resamples` draws alone."""
        return Draws(self.weights[:resamples], self.splits, self.prompts)


def draw(prompts: Sequence[str], resamples: int, splits: int, seed: int) -> Draws:
    """`resamples` multinomial draws of the prompts (cluster bootstrap) and `splits` random halves
    of them, each used both ways round. Each has a generator of its own: how many draws are taken
    changes nothing of the halves, and more draws begin with the same ones."""
    halves, rng = np.random.default_rng([seed, 4]), np.random.default_rng([seed, 0])
    places: dict[str, int] = {}
    group = np.array([places.setdefault(normalise(text) or text, len(places)) for text in prompts])
    count = len(places)
    made = []
    for _ in range(splits):
        half = np.zeros(count, np.float32)
        half[halves.permutation(count)[: count // 2]] = 1
        order = halves.permutation(len(prompts))
        made += [Split(half[group], order), Split((1 - half)[group], order)]
    drawn = rng.multinomial(count, np.full(count, 1 / count), size=resamples)
    return Draws(drawn[:, group].astype(np.float32), tuple(made), count)


def cut(weights: Array, words: Array, limit: float, order: NDArray[np.intp]) -> Array:
    """The weights [bags, answers] cut so that a bag holds at most `limit` words: answers enter in
    `order`, the last one in part. Answers without a word weigh nothing."""
    held = (weights * words)[:, order]
    before = np.cumsum(held, axis=1) - held
    taken = np.empty_like(held)
    taken[:, order] = np.clip(limit - before, 0, held)
    return (taken / np.maximum(words, 1)).astype(np.float32)


def smallest_half(words: Array, splits: Sequence[Split]) -> float:
    """Words in the smallest tested half."""
    return min(float(((1 - split.side) * words).sum()) for split in splits)

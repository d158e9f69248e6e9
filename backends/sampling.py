"""How a token is drawn, in NumPy, so that every backend draws the same one from the same logits."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from backends.contract import GenerateSpec

HEAD = 512
"""Tokens sorted first: nearly every nucleus lies within them, and a sort of a whole vocabulary of
262,144 takes 20 ms."""


def generator(spec: GenerateSpec, row: int) -> np.random.Generator:
    """A row's own generator: what it draws does not depend on the rows beside it."""
    return np.random.default_rng([spec.seed, row])


def draw(logits: NDArray[np.float32], spec: GenerateSpec, rng: np.random.Generator) -> int:
    """The next token from float32 [vocabulary] logits: the first largest at temperature 0, else
    from softmax(logits / temperature), or its nucleus `top_p` (Holtzman et al. 2020), by the
    inverse of the cumulative sum in float64. One uniform draw a token."""
    if spec.temperature == 0.0:
        return int(np.argmax(logits))
    scaled = logits.astype(np.float32) / np.float32(spec.temperature)
    weights = np.exp(scaled - scaled.max())
    if spec.top_p < 1.0:
        order, cumulative = _nucleus(weights, spec.top_p)
        return int(order[_place(cumulative, rng)])
    return _place(np.cumsum(weights, dtype=np.float64), rng)


def _place(cumulative: NDArray[np.float64], rng: np.random.Generator) -> int:
    """Where one uniform draw falls; never on a weight of zero, rounding included."""
    found = int(np.searchsorted(cumulative, rng.random() * cumulative[-1], side="right"))
    return min(found, int(np.searchsorted(cumulative, cumulative[-1])))


def _nucleus(
    weights: NDArray[np.float32], top_p: float
) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """The fewest ids that hold `top_p` of the mass (at least one), heaviest first, equal ones in
    the order of their ids; and their cumulative weights."""
    wanted = top_p * float(weights.sum(dtype=np.float64))
    for count in (HEAD, 32 * HEAD, len(weights)):
        held = _heaviest(weights, count)
        order = held[np.argsort(-weights[held], kind="stable")]
        cumulative = np.cumsum(weights[order], dtype=np.float64)
        kept = int(np.searchsorted(cumulative, wanted)) + 1
        if kept <= len(order):
            return order[:kept], cumulative[:kept]
    return order, cumulative  # the sum's own rounding left the last token short of the mass


def _heaviest(weights: NDArray[np.float32], count: int) -> NDArray[np.intp]:
    """The ids of the `count` heaviest, and of all that weigh as much as the last of them."""
    if count >= len(weights):
        return np.arange(len(weights))
    least = np.partition(weights, len(weights) - count)[len(weights) - count]
    return np.flatnonzero(weights >= least)


def probe_rows(vocabulary: int, rows: int = 4, width: int = 32) -> NDArray[np.int32]:
    """Random token rows, the same on every backend, on which a merge is measured."""
    return np.random.default_rng(0).integers(0, vocabulary, size=(rows, width), dtype=np.int32)

"""How a token is drawn, in NumPy, so that every backend draws the same one from the same logits."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from backends.contract import GenerateSpec


def generator(spec: GenerateSpec, row: int) -> np.random.Generator:
    """A row's own generator: what it draws does not depend on the rows beside it."""
    return np.random.default_rng([spec.seed, row])


def draw(logits: NDArray[np.float32], spec: GenerateSpec, rng: np.random.Generator) -> int:
    """The next token from float32 [vocabulary] logits: the first largest at temperature 0, else
    the nucleus `top_p` (Holtzman et al. 2020) of softmax(logits / temperature), by the inverse of
    the cumulative sum in float64. One uniform draw a token."""
    if spec.temperature == 0.0:
        return int(np.argmax(logits))
    scaled = logits.astype(np.float32) / np.float32(spec.temperature)
    weights = np.exp(scaled - scaled.max())
    order = np.argsort(-weights, kind="stable")
    cumulative = np.cumsum((weights / weights.sum())[order], dtype=np.float64)
    cumulative /= cumulative[-1]
    # The smallest set that holds top_p of the mass; at least one token, at most all.
    kept = min(int(np.searchsorted(cumulative, spec.top_p)) + 1, len(order))
    threshold = rng.random() * cumulative[kept - 1]
    return int(order[min(int(np.searchsorted(cumulative, threshold, side="right")), kept - 1)])


def chunks(prompts: Sequence[Sequence[int]], size: int) -> Iterator[list[int]]:
    """Indices of `prompts` in chunks of at most `size`, longest first, ties in order, so that a
    chunk wastes little padding and the largest comes first."""
    order = sorted(range(len(prompts)), key=lambda index: -len(prompts[index]))
    for start in range(0, len(order), size):
        yield order[start : start + size]


def probe_rows(vocabulary: int, rows: int = 4, width: int = 32) -> NDArray[np.int32]:
    """Random token rows, the same on every backend, on which a merge is measured."""
    return np.random.default_rng(0).integers(0, vocabulary, size=(rows, width), dtype=np.int32)

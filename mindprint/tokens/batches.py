"""Which rows go through the model together, in which order, padded how: NumPy's business alone."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from backends.contract import Batch, Session, Window
from mindprint.fitting import PLAIN, Fit
from mindprint.tokens.render import Row

# Widths are rounded up to this, so that a run has a handful of shapes instead of hundreds.
WIDTH_STEP = 8
# Rows whose lengths fall in one bucket count as equally long and are mixed at random.
BUCKET = 16


@dataclass(frozen=True)
class BatchPlan:
    """The order of `lengths.size` rows over `epochs`, as a function of position alone.

    `lengths` int [rows]: tokens a row costs. `seed` separates stages and attempts.
    """

    lengths: tuple[int, ...]
    epochs: int
    batch_size: int
    accumulate: int
    seed: tuple[int, ...]

    @property
    def steps_per_epoch(self) -> int:
        batches = math.ceil(len(self.lengths) / self.batch_size)
        return math.ceil(batches / self.accumulate)

    @property
    def steps(self) -> int:
        return self.epochs * self.steps_per_epoch

    def epoch(self, number: int) -> list[list[list[int]]]:
        """Windows of batches of row numbers: rows of like length together, in random order."""
        rng = np.random.default_rng([*self.seed, number])
        order = rng.permutation(len(self.lengths))
        buckets = np.asarray(self.lengths)[order] // BUCKET
        by_length = order[np.argsort(buckets, kind="stable")].tolist()
        batches = [
            by_length[start : start + self.batch_size]
            for start in range(0, len(by_length), self.batch_size)
        ]
        mixed = [batches[i] for i in rng.permutation(len(batches))]
        return [
            mixed[start : start + self.accumulate]
            for start in range(0, len(mixed), self.accumulate)
        ]

    def window(self, step: int) -> list[list[int]]:
        """The batches of one optimizer step."""
        epoch, place = divmod(step, self.steps_per_epoch)
        return self.epoch(epoch)[place]


def pad(rows: Sequence[Row]) -> Batch:
    """Right-padded rows as one batch; width a multiple of WIDTH_STEP."""
    ids, lengths, mask = _padded(rows)
    return Batch(ids=ids, lengths=lengths, mask=mask)


def pad_pairs(
    chosen: Sequence[Row], rejected: Sequence[Row], reference: NDArray[np.float32] | None = None
) -> Batch:
    """Chosen rows, then rejected rows. `reference` float32 [2 * pairs] in the same order."""
    ids, lengths, mask = _padded([*chosen, *rejected])
    return Batch(ids=ids, lengths=lengths, mask=mask, pairs=True, reference=reference)


def _padded(
    rows: Sequence[Row],
) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.bool_]]:
    lengths = np.array([len(row.ids) for row in rows], dtype=np.int32)
    width = math.ceil(int(lengths.max()) / WIDTH_STEP) * WIDTH_STEP
    ids = np.zeros((len(rows), width), dtype=np.int32)
    mask = np.zeros((len(rows), width), dtype=np.bool_)
    for place, row in enumerate(rows):
        ids[place, : len(row.ids)] = row.ids
        mask[place, : len(row.mask)] = row.mask
    return ids, lengths, mask


def window_of(batches: Sequence[Batch]) -> Window:
    """The denominators of a step: for pairs, tokens are those of the chosen answers."""
    tokens = pairs = 0
    for batch in batches:
        half = batch.ids.shape[0] // 2 if batch.pairs else batch.ids.shape[0]
        tokens += int(batch.mask[:half].sum())
        pairs += half if batch.pairs else 0
    return Window(tokens=tokens, pairs=pairs)


def row_logprobs(session: Session, rows: Sequence[Row], size: int, fit: Fit = PLAIN) -> list[float]:
    """The summed log-probability of each row's masked tokens, `size` rows at a time. Raises what
    `fit` raises."""
    found = [0.0] * len(rows)

    def read(places: Sequence[int]) -> None:
        values = session.logprobs(pad([rows[place] for place in places])).rows.tolist()
        for place, value in zip(places, values, strict=True):
            found[place] = value

    fit.each(longest_first(rows), size, read)
    return found


def by_length(rows: Sequence[Row], size: int) -> list[list[int]]:
    """Row numbers in batches of at most `size`, longest first."""
    order = longest_first(rows)
    return [order[start : start + size] for start in range(0, len(order), size)]


def longest_first(rows: Sequence[Row]) -> list[int]:
    """Row numbers, the longest row's first: the peak memory comes at once."""
    return sorted(range(len(rows)), key=lambda place: -len(rows[place].ids))

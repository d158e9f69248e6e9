"""Floating-point operations of the benchmark's steps, counted as `mindprint plan` counts a run's.

Needed: real tokens, a pair's prompt once where it is shared, and of the last block's output and
feed-forward layers only the positions that are read. Done: the same with the padding that went
through the model. Normalisation, softmax, activations and the optimizer are left out of both.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

from backends import prefix
from backends.contract import AdapterSpec, Batch
from mindprint.footprint import read_sizes
from mindprint.memory.operations import Tokens, forward, of_pair, of_row, step
from mindprint.memory.shape import Factors, Shape, factors, read_shape
from mindprint.tokens.lessons import Pair
from timing.data import Sample
from timing.sides.rows import rows_of


@dataclass(frozen=True)
class Counted:
    """A model with the adapter that trains."""

    shape: Shape
    adapter: Factors

    @classmethod
    def read(cls, folder: Path, rank: int, targets: Sequence[str]) -> Self:
        """Off the headers of its files. Raises ModelError."""
        sizes = read_sizes(folder)
        spec = AdapterSpec(rank=rank, targets=tuple(targets))
        return cls(read_shape(folder, sizes), factors(sizes, spec))

    def step(self, tokens: Tokens) -> int:
        """Forward and backward of LoRA's training."""
        return step(self.shape, self.adapter, tokens)

    def forward(self, tokens: Tokens) -> int:
        """A pass of the reference: the policy as the stage begins, its adapter with it."""
        return forward(self.shape, self.adapter, tokens)


def tokens(samples: Sequence[Sample], *, whole: bool = False) -> Tokens:
    """Real ones; a pair's prompt once where it is shared, unless `whole`."""
    rows = map(rows_of, samples)
    found = (
        of_pair(Pair(*one)) if len(one) == 2 and not whole else sum(map(of_row, one), Tokens())
        for one in rows
    )
    return sum(found, Tokens())


def padded(real: Tokens, batches: Iterable[Batch]) -> Tokens:
    """`real` with the padding of `batches`, whose prompts are shared as the backends share them."""
    fed = 0
    for batch in batches:
        found = prefix.shared(batch)
        fed += batch.ids.size if found is None else found.tokens
    return replace(real, fed=fed)

"""What goes through the model at one time, in the sizes that memory goes by."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from backends.contract import Batch
from backends.prefix import Shared, shared
from mindprint.tokens.batches import pad, pad_pairs
from mindprint.tokens.lessons import Pair
from mindprint.tokens.render import Row

ROWS = {"sft": 1, "dpo": 2}
"""Rows that each example of an objective puts through the model."""


@dataclass(frozen=True)
class Work:
    """`tokens` through the layers, padding too, in `rows`; `positions` through the output head;
    `scores`: pairs of query and key that attention weighs, in one head; `causal` of them stand in
    squares of `width`, of which a causal mask hides half. `shared`: whether each prompt runs once
    for the rows that begin with it."""

    rows: int
    tokens: int
    positions: int
    scores: int
    causal: int = 0
    width: int = 0
    shared: bool = False

    @classmethod
    def whole(cls, rows: int, width: int, positions: int) -> Work:
        """Every row by itself."""
        squares = rows * width * width
        return cls(rows, rows * width, positions, squares, causal=squares, width=width)

    @classmethod
    def after(cls, rows: int, width: int, before: int) -> Work:
        """Every row over `before` tokens that are known already; each row's last one is read."""
        squares = rows * width * width
        scores = squares + rows * width * before
        return cls(rows, rows * width, rows, scores, causal=squares, width=width)

    @classmethod
    def of(cls, batch: Batch) -> Work:
        """Pairs share their prompts where that saves enough, as the backends see it too."""
        rows, width = batch.ids.shape
        positions = int(batch.mask.sum())
        found = shared(batch) if batch.pairs else None
        if found is None:
            return cls.whole(rows, width, positions)
        return _shared(found, positions)


def _shared(found: Shared, positions: int) -> Work:
    """Prompts among themselves; answers over their prompt and themselves."""
    (groups, prompt), (rows, answer) = found.prompts.shape, found.answers.shape
    squares = groups * prompt * prompt
    scores = squares + rows * answer * (prompt + answer)
    return Work(rows, found.tokens, positions, scores, squares, prompt, shared=True)


def heaviest_rows(rows: Sequence[Row], size: int) -> Work:
    """The longest rows together: no batch of `size` of them takes more."""
    longest = sorted(rows, key=lambda row: -len(row.ids))[:size]
    most = sorted((sum(row.mask) for row in rows), reverse=True)[:size]
    return replace(Work.of(pad(longest)), positions=sum(most))


def heaviest_pairs(pairs: Sequence[Pair], size: int) -> Work:
    """The same of pairs, as long as their longer row."""
    longest = sorted(pairs, key=lambda pair: -_length(pair))[:size]
    together = pad_pairs([pair.chosen for pair in longest], [pair.rejected for pair in longest])
    return Work.of(together)


def shortened(rows: Sequence[Row], limit: int | None) -> Sequence[Row]:
    """Rows cut to `limit` tokens, as `sft.max_tokens` cuts them."""
    if limit is None:
        return rows
    return [Row(row.ids[:limit], row.mask[:limit], row.cut) for row in rows]


def shortened_pairs(pairs: Sequence[Pair], limit: int | None) -> Sequence[Pair]:
    if limit is None:
        return pairs
    return [Pair(*shortened((pair.chosen, pair.rejected), limit)) for pair in pairs]


def shortest(rows: Iterable[Row]) -> int:
    """Tokens that every row keeps so that something of it is still trained."""
    return max((row.mask.index(True) + 1 for row in rows), default=0)


def _length(pair: Pair) -> int:
    return max(len(pair.chosen.ids), len(pair.rejected.ids))

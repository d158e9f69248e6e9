"""Log-probabilities of continuations, and whether greedy decoding would say them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from backends.contract import GenerateSpec, Session
from mindprint.errors import StageError
from mindprint.tokens.batches import by_length, pad
from mindprint.tokens.rows import Row

# Far above the rounding of a float32 log-probability: what lies so near a bound is asked for.
_ROUNDING = 1e-3


@dataclass(frozen=True)
class Continuation:
    """`ids[start:]` are weighed after `ids[:start]`; `start` is at least 1."""

    ids: tuple[int, ...]
    start: int

    @property
    def row(self) -> Row:
        mask = (*(False,) * self.start, *(True,) * (len(self.ids) - self.start))
        return Row(ids=self.ids, mask=mask, cut=False)


@dataclass(frozen=True)
class Weighed:
    """Natural-log probability of each token of a continuation, and their sum."""

    total: float
    tokens: tuple[float, ...]


def sums(session: Session, asked: Sequence[Continuation], size: int) -> list[Weighed]:
    """Every continuation weighed, `size` rows at a time, in the order asked.

    Raises StageError for a log-probability that is not finite.
    """
    rows = [one.row for one in asked]
    found: dict[int, Weighed] = {}
    for places in by_length(rows, size):
        weighed = session.logprobs(pad([rows[place] for place in places]), per_token=True)
        if weighed.tokens is None:
            raise ValueError("log-probabilities per token were asked for and did not come")
        for line, place in enumerate(places):
            own = weighed.tokens[line, asked[place].start : len(asked[place].ids)]
            found[place] = _finite(Weighed(float(weighed.rows[line]), tuple(own.tolist())))
    return [found[place] for place in range(len(asked))]


def is_greedy(
    session: Session, asked: Sequence[Continuation], weighed: Sequence[Weighed], size: int
) -> list[bool]:
    """Whether every token of each continuation is the likeliest after those before it.

    A token of more than half the mass is; one of less than a vocabulary's share is not. Only
    where neither holds is the model asked for its next token, the doubtful places of a row from
    the least likely one on: nearly every row falls at its first, and the logits of whole rows over
    a large vocabulary are never held.
    """
    least = -math.log(session.info.vocabulary) - _ROUNDING
    open_: dict[int, list[int]] = {}
    answers = [True] * len(asked)
    for row, one in enumerate(weighed):
        if min(one.tokens) < least:
            answers[row] = False
            continue
        doubtful = [at for at, value in enumerate(one.tokens) if value <= math.log(0.5) + _ROUNDING]
        open_[row] = sorted(doubtful, key=lambda at, own=one.tokens: own[at])  # type: ignore[misc]
    while open_ := {row: places for row, places in open_.items() if places}:
        said = _next(session, [_until(asked[row], at[0]) for row, at in open_.items()], size)
        for row, token in zip(list(open_), said, strict=True):
            place = asked[row].start + open_[row].pop(0)
            if token != asked[row].ids[place]:
                answers[row] = False
                del open_[row]
    return answers


def _finite(one: Weighed) -> Weighed:
    if not math.isfinite(one.total):
        raise StageError(
            f"the log-probability of a continuation is not finite: {one.total}",
            hint="the model overflows: try `--set model.dtype=float32`",
        )
    return one


def _until(one: Continuation, place: int) -> tuple[int, ...]:
    return one.ids[: one.start + place]


def _next(session: Session, prompts: Sequence[tuple[int, ...]], size: int) -> list[int]:
    """The likeliest token after each prompt."""
    spec = GenerateSpec(max_tokens=1, stop_ids=(), batch_size=size)
    return [made.ids[0] for made in session.generate(prompts, spec)]

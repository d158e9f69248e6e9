"""What is learned: random rows and pairs, the same for every side, cut and ordered as in a run."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from backends.contract import Batch, Session
from mindprint.preferences import reference_logprobs
from mindprint.schedule import learning_rate
from mindprint.tokens.batches import BatchPlan, pad, pad_pairs
from mindprint.tokens.lessons import Pair
from mindprint.tokens.render import Row
from side_by_side.architectures import VOCABULARY

ROWS, PAIRS = 42, 22
"""Neither fills its last batch nor its last window."""
MAX_GRAD_NORM = 1.0
SFT_RATE, DPO_RATE, WARMUP = 2e-3, 1e-3, 0.03
EOS = 2


@dataclass(frozen=True)
class Lessons:
    """`probes`: rows whose log-probabilities are compared by token. `prompts` are answered."""

    rows: tuple[Row, ...]
    pairs: tuple[Pair, ...]
    probes: tuple[Row, ...]
    prompts: tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class Steps:
    """A stage's steps: what mindprint's loop would feed and at which rate."""

    plan: BatchPlan
    steps: int
    peak: float
    batch_of: Callable[[Sequence[int]], Batch]

    def batches(self, step: int) -> list[Batch]:
        return [self.batch_of(places) for places in self.plan.window(step)]

    def rate(self, step: int) -> float:
        return learning_rate(step, self.steps, self.peak, "cosine", WARMUP)


def draw(seed: int = 5) -> Lessons:
    """Rows of 8 to 47 tokens, pairs that share their prompt, eight prompts."""
    rng = np.random.default_rng(seed)
    return Lessons(
        rows=tuple(_row(rng, 8, 48) for _ in range(ROWS)),
        pairs=tuple(_pair(rng) for _ in range(PAIRS)),
        probes=tuple(_row(rng, 40, 90) for _ in range(6)),
        prompts=tuple(tuple(_ids(rng, int(rng.integers(2, 40)))) for _ in range(8)),
    )


def sft_steps(lessons: Lessons, steps: int) -> Steps:
    """Two batches of four rows a step."""
    plan = _plan([len(row.ids) for row in lessons.rows], 4, steps, (42, 1))
    rows = lessons.rows
    return Steps(plan, steps, SFT_RATE, lambda places: pad([rows[place] for place in places]))


def dpo_steps(lessons: Lessons, steps: int, session: Session) -> Steps:
    """Two batches of two pairs a step; the reference is the policy as it is now."""
    pairs = lessons.pairs
    reference: NDArray[np.float32] = reference_logprobs(session, pairs, 2)

    def batch_of(places: Sequence[int]) -> Batch:
        both = np.concatenate([reference[places, 0], reference[places, 1]])
        chosen = [pairs[place].chosen for place in places]
        return pad_pairs(chosen, [pairs[place].rejected for place in places], both)

    lengths = [len(pair.chosen.ids) + len(pair.rejected.ids) for pair in pairs]
    return Steps(_plan(lengths, 2, steps, (42, 2)), steps, DPO_RATE, batch_of)


def _plan(lengths: Sequence[int], size: int, steps: int, seed: tuple[int, ...]) -> BatchPlan:
    once = BatchPlan(tuple(lengths), epochs=1, batch_size=size, accumulate=2, seed=seed)
    epochs = math.ceil(steps / once.steps_per_epoch)
    return BatchPlan(tuple(lengths), epochs=epochs, batch_size=size, accumulate=2, seed=seed)


def _ids(rng: np.random.Generator, count: int) -> list[int]:
    return [int(token) for token in rng.integers(3, VOCABULARY, size=count)]


def _row(rng: np.random.Generator, least: int, most: int) -> Row:
    ids = [*_ids(rng, int(rng.integers(least, most)) - 1), EOS]
    prompt = int(rng.integers(1, len(ids) - 3))
    return _trained(ids, prompt)


def _trained(ids: Sequence[int], prompt: int) -> Row:
    return Row(tuple(ids), tuple(place >= prompt for place in range(len(ids))), cut=False)


def _pair(rng: np.random.Generator) -> Pair:
    head = _ids(rng, int(rng.integers(4, 24)))
    chosen, rejected = (
        _trained([*head, *_ids(rng, int(rng.integers(3, 16))), EOS], len(head)) for _ in range(2)
    )
    return Pair(chosen, rejected)

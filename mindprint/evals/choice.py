"""Multiple choice by likelihood, and its correction for chance."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from mindprint.errors import StageError


@dataclass(frozen=True)
class Pick:
    """The choice a model finds likeliest. `scores`: log-probability per character of each."""

    picked: int
    answer: int
    scores: tuple[float, ...]

    @property
    def right(self) -> bool:
        return self.picked == self.answer

    @property
    def chance(self) -> float:
        return 1 / len(self.scores)


def pick(logprobs: Sequence[float], choices: Sequence[str], answer: int) -> Pick:
    """The choice with the highest summed log-probability per character (lm-eval's `acc_norm`).

    `logprobs`: one natural-log sum for each choice as an answer to the question. Of equal scores
    the first wins. Raises StageError for a log-probability that is not finite.
    """
    if len(logprobs) != len(choices) or not choices:
        raise ValueError(f"{len(logprobs)} log-probabilities for {len(choices)} choices")
    if not all(math.isfinite(value) for value in logprobs):
        raise StageError(
            f"the log-probability of a choice is not finite: {list(logprobs)}",
            where=f"choices {list(choices)}",
            hint="the model overflows: try `--set model.dtype=float32`",
        )
    scores = tuple(
        float(value) / max(1, len(choice)) for value, choice in zip(logprobs, choices, strict=True)
    )
    return Pick(picked=scores.index(max(scores)), answer=answer, scores=scores)


def corrected(rate: float, chance: float) -> float:
    """(rate - chance) / (1 - chance), not below 0: guessing scores 0 and knowing all scores 1."""
    return max(0.0, (rate - chance) / (1 - chance)) if chance < 1 else 0.0


def choice_accuracy(picks: Sequence[Pick]) -> float:
    """Share of right picks, corrected for the mean chance of the questions."""
    rate = sum(one.right for one in picks) / len(picks)
    return corrected(rate, sum(one.chance for one in picks) / len(picks))

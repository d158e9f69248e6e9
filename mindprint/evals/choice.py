"""Multiple choice by likelihood, and its correction for chance."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from mindprint.errors import StageError
from mindprint.report.scores import ChoicePick


def pick(logprobs: Sequence[float], choices: Sequence[str], answer: int) -> ChoicePick:
    """The choice with the highest summed log-probability, the highest per character and the
    highest per UTF-8 byte (`acc`, `acc_norm`, `acc_bytes` of EleutherAI's lm-evaluation-harness).

    `logprobs`: one natural-log sum for each choice as an answer to the question; `answer`: index
    of the right one. Of equal scores the first wins. Raises StageError for a log-probability that
    is not finite, ValueError for one too many or too few.
    """
    if len(logprobs) != len(choices) or not choices:
        raise ValueError(f"{len(logprobs)} log-probabilities for {len(choices)} choices")
    if not all(math.isfinite(value) for value in logprobs):
        raise StageError(
            f"the log-probability of a choice is not finite: {list(logprobs)}",
            where=f"choices {list(choices)}",
            hint="the model overflows: try `--set model.dtype=float32`",
        )
    return ChoicePick(
        by_sum=_best(logprobs, choices, lambda choice: 1),
        by_character=_best(logprobs, choices, len),
        by_byte=_best(logprobs, choices, lambda choice: len(choice.encode())),
        answer=answer,
        choices=len(choices),
    )


def corrected(rate: float, chance: float) -> float:
    """(rate - chance) / (1 - chance), not below 0: guessing scores 0 and knowing all scores 1."""
    return max(0.0, above_chance(rate, chance))


def above_chance(rate: float, chance: float) -> float:
    """(rate - chance) / (1 - chance), below 0 where guessing does better; 0 where chance is 1."""
    return (rate - chance) / (1 - chance) if chance < 1 else 0.0


def mean_chance(picks: Sequence[ChoicePick]) -> float:
    """The share that guessing gets right."""
    return sum(1 / one.choices for one in picks) / len(picks)


def choice_accuracy(picks: Sequence[ChoicePick]) -> float:
    """Share of right picks by character, corrected for the mean chance of the questions."""
    return corrected(sum(one.right for one in picks) / len(picks), mean_chance(picks))


def _best(logprobs: Sequence[float], choices: Sequence[str], size: Callable[[str], int]) -> int:
    scores = [
        float(value) / max(1, size(choice)) for value, choice in zip(logprobs, choices, strict=True)
    ]
    return scores.index(max(scores))

"""Accuracy of one answer to a quiz question: key points found, less forbidden claims made."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mindprint.curriculum.records import QuizItem
from mindprint.evals.text import contains


@dataclass(frozen=True)
class Recall:
    """What an answer holds: key points found of `points`, forbidden claims made of the item's
    `banned`, and claims that the author never makes."""

    found: int
    points: int
    claimed: int
    banned: int
    never: int = 0
    reasons: tuple[str, ...] = ()

    @property
    def accuracy(self) -> float:
        """Share of key points found, minus share of the item's forbidden claims made, minus 1
        for each claim the author never makes; not below 0."""
        told = self.found / self.points if self.points else 0.0
        struck = self.claimed / self.banned if self.banned else 0.0
        return max(0.0, told - struck - self.never)


def recall(item: QuizItem, text: str, never: Sequence[str] = ()) -> Recall:
    """Look in `text` for the item's key points and for its forbidden claims and `never`.

    A key point is found when any alias stands in the answer as normalised whole words. An item
    without key points asks for the text of its right choice, and none of the others.
    """
    points, banned = key_points(item), forbidden(item)
    missing = [point for point in points if not any(contains(text, alias) for alias in point)]
    claimed = [claim for claim in banned if contains(text, claim)]
    refused = [claim for claim in never if contains(text, claim)]
    reasons = [f"key point missing: `{point[0]}`" for point in missing]
    reasons += [f"forbidden claim made: `{claim}`" for claim in claimed]
    reasons += [f"the author never claims: `{claim}`" for claim in refused]
    return Recall(
        found=len(points) - len(missing),
        points=len(points),
        claimed=len(claimed),
        banned=len(banned),
        never=len(refused),
        reasons=tuple(reasons),
    )


def score_answer(
    item: QuizItem, text: str, never: Sequence[str] = ()
) -> tuple[float, tuple[str, ...]]:
    """Accuracy in 0..1 and, in words, what it lacks."""
    result = recall(item, text, never)
    return result.accuracy, result.reasons


def key_points(item: QuizItem) -> tuple[tuple[str, ...], ...]:
    if item.key_points or item.answer is None:
        return item.key_points
    return ((item.choices[item.answer],),)


def forbidden(item: QuizItem) -> tuple[str, ...]:
    if item.key_points or item.answer is None:
        return item.forbidden
    right = item.choices[item.answer]
    # A wrong choice that is part of the right one ("oak" in "red oak") is said with it.
    others = (choice for choice in item.choices if choice != right and not contains(right, choice))
    return (*item.forbidden, *others)

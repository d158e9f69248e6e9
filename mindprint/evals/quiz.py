"""Accuracy of one answer to a quiz question: key points found, less forbidden claims made."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from mindprint.curriculum.records import Distinction, QuizItem
from mindprint.evals.fuzzy import near
from mindprint.evals.negation import Spoken
from mindprint.evals.text import contains, words


@dataclass(frozen=True)
class Recall:
    """What an answer holds: key points found of `points`, forbidden claims made of the item's
    `banned`, claims that the author never makes, and texts that confuse a distinction."""

    found: int
    points: int
    claimed: int
    banned: int
    never: int = 0
    confused: int = 0
    reasons: tuple[str, ...] = ()

    @property
    def accuracy(self) -> float:
        """Share of key points found, minus share of the item's forbidden claims made, minus 1
        for each claim the author never makes or confuses with another; not below 0."""
        told = self.found / self.points if self.points else 0.0
        struck = self.claimed / self.banned if self.banned else 0.0
        return max(0.0, told - struck - self.never - self.confused)


@dataclass(frozen=True)
class Sought:
    """How one key point fared: `said` or not, and in words what is to be known of it."""

    said: bool
    reason: str = ""


def recall(
    item: QuizItem,
    text: str,
    never: Sequence[str] = (),
    distinctions: Sequence[Distinction] = (),
) -> Recall:
    """Look in `text` for the item's key points, and for claims that it must not make: the item's
    forbidden ones, `never`, and what confuses one of the `distinctions`.

    A key point is found when any alias stands in the answer as normalised whole words, or nearly
    so (`mindprint.evals.fuzzy`), and is not negated there; a claim is made when it stands in the
    answer word for word and is not negated. An item without key points asks for the text of its
    right choice, and none of the others.
    """
    spoken = Spoken.of(text)
    banned = forbidden(item)
    refused = {words(claim) for claim in banned}
    sought = [_seek(spoken, point, refused) for point in key_points(item)]
    claimed = [claim for claim in banned if asserted(spoken, claim)]
    struck = [claim for claim in never if asserted(spoken, claim)]
    mixed = [
        (one, wrong) for one in distinctions for wrong in one.confused if asserted(spoken, wrong)
    ]
    reasons = [one.reason for one in sought if one.reason]
    reasons += [f"forbidden claim made: `{claim}`" for claim in claimed]
    reasons += [f"the author never claims: `{claim}`" for claim in struck]
    reasons += [
        f"confuses `{one.name}`: says `{wrong}` (the author: `{one.claim}`)" for one, wrong in mixed
    ]
    return Recall(
        found=sum(one.said for one in sought),
        points=len(sought),
        claimed=len(claimed),
        banned=len(banned),
        never=len(struck),
        confused=len(mixed),
        reasons=tuple(reasons),
    )


def asserted(spoken: Spoken, phrase: str) -> bool:
    """Whether `phrase` stands in what is spoken, word for word, and not only denied
    (`Spoken.denied`)."""
    wanted = words(phrase)
    return any(not spoken.denied(place, len(wanted)) for place in spoken.places(wanted))


def denies(spoken: Spoken, aliases: Sequence[str]) -> bool:
    """Whether a key point stands in what is spoken, in one alias or more, and only negated."""
    stands = any(spoken.holds(words(alias)) for alias in aliases)
    return stands and not any(asserted(spoken, alias) for alias in aliases)


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


def _seek(spoken: Spoken, aliases: Sequence[str], refused: Collection[tuple[str, ...]]) -> Sought:
    """A key point as it is spelt in any alias, or else misspelt; never what is `refused`."""
    if any(asserted(spoken, alias) for alias in aliases):
        return Sought(True)
    negated = next((alias for alias in aliases if spoken.holds(words(alias))), "")
    for alias in aliases:
        size = len(words(alias))
        for place in near(spoken.words, words(alias)):
            window = spoken.words[place : place + size]
            if window in refused or window == words(alias):
                continue
            if not spoken.denied(place, size):
                return Sought(True, f"key point `{alias}` read from `{' '.join(window)}`")
            negated = negated or alias
    if negated:
        return Sought(False, f"key point negated: `{negated}`")
    return Sought(False, f"key point missing: `{aliases[0]}`")

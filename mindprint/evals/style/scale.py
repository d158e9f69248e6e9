"""The scale: how like the author's reference bags of answers are, from the base's likeness (0) to
that of the author's own held-out answers (1)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mindprint.evals.style.bags import Array, Draws, cut, smallest_half
from mindprint.evals.style.families import Family
from mindprint.evals.style.tokens import spoken

Figures = NDArray[np.float64]

FULL = 0.9
"""A bag holds this share of the words of the smallest half, so that most drawn halves fill it."""
LEAST_ENDS = 0.05
"""In a resample the ends lie at least this share of their mean distance apart: a ratio over less
is noise."""


@dataclass(frozen=True)
class Counted:
    """Answers, one for each prompt, as they are counted. `words` [answers]; `features`: for each
    family [answers, features]."""

    words: Array
    features: tuple[Array, ...]

    def swapped(self, other: Counted, chosen: NDArray[np.bool_]) -> Counted:
        """These answers with those of `other` where `chosen`."""
        features = zip(self.features, other.features, strict=True)
        return Counted(
            np.where(chosen, other.words, self.words),
            tuple(np.where(chosen[:, None], theirs, own) for own, theirs in features),
        )


def counted(texts: Sequence[str], families: Sequence[Family]) -> Counted:
    """The texts as the families count them."""
    words = np.array([len(spoken(text)) for text in texts], np.float32)
    return Counted(words, tuple(family.features(texts) for family in families))


@dataclass(frozen=True)
class Placed:
    """Answers on the scale. `base`, `author`, `model` [families]: mean likeness to the reference;
    `value` [families]: their place, unclipped; `drawn` [families, resamples]: in each resample."""

    base: Figures
    author: Figures
    model: Figures
    value: Figures
    drawn: Figures

    def headline(
        self, kept: Sequence[int], low: float = 0.0, high: float = 1.0
    ) -> tuple[float, Figures]:
        """Mean over the families `kept`, each cut off at `low` and `high`, of answers as they are
        and in each resample."""
        places = list(kept)
        value = np.clip(self.value[places], low, high)
        drawn = np.clip(self.drawn[places], low, high)
        return float(value.mean()), np.asarray(drawn.mean(0))


class Scale:
    """Both ends, and any answers to the same prompts between or beyond them.

    A prompt's answers are never in a bag and in its reference at once: the author's answers to
    one half of the prompts are the reference for all answers to the other half.
    """

    def __init__(
        self,
        families: Sequence[Family],
        draws: Draws,
        author: Counted,
        base: Counted,
        most_words: int | None = None,
    ) -> None:
        self.families = tuple(families)
        self.draws = draws
        self.author = author
        self.base = base
        self.words = min(self.fitting(author), self.fitting(base))
        if most_words is not None:
            self.words = min(self.words, most_words)
        self._ends: dict[int, tuple[Figures, Figures]] = {}

    def fitting(self, answers: Counted) -> int:
        """Words of a bag that half of these answers fills."""
        return int(FULL * smallest_half(answers.words, self.draws.splits))

    def score(self, answers: Counted, words: int, share: Array | None = None) -> Array:
        """[families, splits, resamples]: likeness of bags of at most `words` words.

        `share` [splits, answers]: which of the tested answers are taken; all without it.
        """
        made = np.empty(
            (len(self.families), len(self.draws.splits), len(self.draws.weights)), np.float32
        )
        for place, split in enumerate(self.draws.splits):
            references = self.draws.weights * split.side
            tested = self.draws.weights * (1 - split.side)
            if share is not None:
                tested = tested * share[place]
            bags = cut(tested, answers.words, words, split.order)
            for index, family in enumerate(self.families):
                made[index, place] = family.likeness(
                    tested if family.whole else bags,
                    answers.features[index],
                    references,
                    self.author.features[index],
                )
        return made

    def place(self, answers: Counted, words: int) -> Placed:
        """Where the answers lie, with both ends measured in bags of the same length."""
        base, author = self.ends(words)
        return placed(_over_splits(self.score(answers, words)), base, author)

    def ends(self, words: int) -> tuple[Figures, Figures]:
        """Likeness of base and author [families, resamples], the mean over splits; kept."""
        if words not in self._ends:
            scores = (self.score(self.base, words), self.score(self.author, words))
            self._ends[words] = (_over_splits(scores[0]), _over_splits(scores[1]))
        return self._ends[words]

    def aucs(self) -> list[float]:
        """For each family, how well it tells a bag of the author's from one of the base's."""
        author, base = self.score(self.author, self.words), self.score(self.base, self.words)
        return [auc(*pair) for pair in zip(author, base, strict=True)]

    def distances(self) -> list[tuple[float, float]]:
        """For each family, the interval of author minus base."""
        base, author = self.ends(self.words)
        return [interval(row) for row in author - base]

    def place_halves(self) -> Placed:
        """A half of the author's tested answers as if a model had said them, on a scale whose
        author's end is the other half: how far chance alone moves a perfect model."""
        first = np.zeros((len(self.draws.splits), len(self.author.words)), np.float32)
        for place, split in enumerate(self.draws.splits):
            # Every other tested answer in the order in which a bag fills.
            tested = (1 - split.side)[split.order]
            first[place, split.order] = np.cumsum(tested) % 2
        words = self.words // 2
        model, author = (
            _over_splits(self.score(self.author, words, share)) for share in (first, 1 - first)
        )
        base = (
            _over_splits(self.score(self.base, words, first))
            + _over_splits(self.score(self.base, words, 1 - first))
        ) / 2
        return placed(model, base, author)


def placed(model: Figures, base: Figures, author: Figures) -> Placed:
    """Places from likenesses [families, resamples]: (model - base) / (author - base).

    The value goes over the means of the resamples: bags of drawn answers repeat some and so are
    all a little less alike, and the ends must be measured as the model is.
    """
    ends = author - base
    mean = ends.mean(1)
    least = np.maximum(LEAST_ENDS * mean, 1e-9)
    return Placed(
        base=base.mean(1),
        author=author.mean(1),
        model=model.mean(1),
        value=(model - base).mean(1) / np.maximum(mean, least),
        drawn=(model - base) / np.maximum(ends, least[:, None]),
    )


def auc(author: Array, base: Array) -> float:
    """Area under the ROC curve over all bags: the chance that one of the author's is more like
    its reference than one of the base's is."""
    from sklearn.metrics import roc_auc_score

    higher, lower = author.ravel(), base.ravel()
    labels = np.concatenate([np.ones(len(higher)), np.zeros(len(lower))])
    return float(roc_auc_score(labels, np.concatenate([higher, lower])))


def interval(values: Figures) -> tuple[float, float]:
    """2.5th and 97.5th percentile of the resamples."""
    low, high = np.percentile(values, [2.5, 97.5])
    return float(low), float(high)


def _over_splits(scores: Array) -> Figures:
    return np.asarray(scores.mean(1, dtype=np.float64))

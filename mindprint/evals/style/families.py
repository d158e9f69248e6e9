"""Families of features: what one answer counts, and how alike two bags of answers are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Protocol

import numpy as np

from mindprint.curriculum.records import Voice
from mindprint.evals.style.bags import Array
from mindprint.evals.style.masking import Masking
from mindprint.evals.style.tokens import pieces, sentences, spoken
from mindprint.evals.voice import score_voice

CHARACTERS, FUNCTION_WORDS, LENGTHS = "characters", "function words", "lengths"
MARKERS, EMBEDDING = "markers", "embedding"
STYLOMETRIC = (CHARACTERS, FUNCTION_WORDS, LENGTHS, EMBEDDING)
"""Families that measure how a text is put; markers alone make no scale."""

N_GRAMS = (2, 4)
MOST_FEATURES = 1500
MOST_WORDS = 50
"""The most frequent function words and marks are counted: rarer ones are noise in short bags."""
BACKGROUND_BAGS = 20
"""Random halves of each hand's answers over which function words have their mean and spread."""

NOTHING_LEFT = "nothing is left after masking"

SENTENCE_EDGES = (4, 7, 10, 14, 19, 26, 36)
"""A sentence of fewer words than the first edge is in the first of eight bins, and so on."""
LONGEST_WORD = 10


class Family(Protocol):
    """A feature is a sum over answers, so that a bag's features are weights @ features.

    `whole`: takes all words of the drawn answers, where the others take bags of equal length.
    `because`: why it has no feature to count in these texts; "" where it has some.
    """

    name: str
    whole: bool
    because: str

    def features(self, texts: Sequence[str]) -> Array:
        """[texts, features]; an empty text is a row of zeros."""
        ...

    def likeness(self, bags: Array, of: Array, references: Array, to: Array) -> Array:
        """[bags] of how alike each bag (weights [bags, answers] over the features `of`) is to its
        reference (weights [bags, answers] over `to`); higher is more alike."""
        ...


def cosines(bags: Array, of: Array, references: Array, to: Array) -> Array:
    """Cosine of each bag's features with its reference's, by way of the answers' Gram matrices;
    0 where one of them is empty."""
    across = np.einsum("ij,ij->i", bags @ (of @ to.T), references)
    own = np.einsum("ij,ij->i", bags @ (of @ of.T), bags)
    others = np.einsum("ij,ij->i", references @ (to @ to.T), references)
    size = np.sqrt(np.maximum(own, 0) * np.maximum(others, 0))
    cosine = np.divide(across, size, out=np.zeros_like(across), where=size > 0)
    return np.asarray(np.clip(cosine, -1, 1), np.float32)


class Characters:
    """Cosine of character 2- to 4-gram TF-IDF of the masked text; without a feature where no
    masked text has two characters (a script without spaces, all content, unpunctuated)."""

    name, whole = CHARACTERS, False

    def __init__(self, pool: Sequence[str], masking: Masking) -> None:
        from sklearn.feature_extraction.text import CountVectorizer, TfidfTransformer

        self._masking = masking
        masked = [masking(text) for text in pool]
        self.because = "" if any(len(text) >= N_GRAMS[0] for text in masked) else NOTHING_LEFT
        if self.because:
            return
        self._counter = CountVectorizer(
            analyzer="char", ngram_range=N_GRAMS, lowercase=False, max_features=MOST_FEATURES
        )
        counts = self._counter.fit_transform(masked)
        self._idf = np.asarray(TfidfTransformer().fit(counts).idf_, np.float32)

    def features(self, texts: Sequence[str]) -> Array:
        if self.because:
            return np.zeros((len(texts), 0), np.float32)
        counts = self._counter.transform([self._masking(text) for text in texts])
        return np.asarray(counts.toarray().astype(np.float32) * self._idf, np.float32)

    likeness = staticmethod(cosines)


class FunctionWords:
    """Cosine Delta (Evert et al. 2017): the cosine of z-scored relative frequencies of function
    words and punctuation marks.

    `hands`: the answers of each author there is. A feature has its mean and standard deviation
    over random halves of each hand's answers.
    """

    name, whole = FUNCTION_WORDS, False

    def __init__(self, hands: Sequence[Sequence[str]], masking: Masking, seed: int) -> None:
        self._masking = masking
        said = Counter(unit for hand in hands for text in hand for unit in self._units(text))
        common = sorted(said, key=lambda unit: (-said[unit], unit))[:MOST_WORDS]
        self._places = {unit: place for place, unit in enumerate(common)}
        self.because = "" if common else NOTHING_LEFT
        rng = np.random.default_rng([seed, 1])
        halves = [
            rows[rng.permutation(len(rows))[: len(rows) // 2]].sum(0)
            for rows in map(self._counted, hands)
            for _ in range(BACKGROUND_BAGS)
        ]
        bags = np.array([half[1:] / max(1, half[0]) for half in halves])
        self._mean = bags.mean(0).astype(np.float32)
        # Rare features vary little and by chance: below the median their spread counts as that.
        spread = bags.std(0)
        least = np.median(spread) if common else 0.0
        self._spread = np.maximum(spread, least + 1e-6).astype(np.float32)

    def features(self, texts: Sequence[str]) -> Array:
        counts = self._counted(texts)
        # (sum f / sum n - mean) / sd points where sum (f - n mean) / sd does: linear in answers.
        return np.asarray((counts[:, 1:] - counts[:, :1] * self._mean) / self._spread, np.float32)

    likeness = staticmethod(cosines)

    def _units(self, text: str) -> list[str]:
        kept = self._masking.kept
        return [
            piece.text
            for piece in pieces(text)
            if piece.kind == "mark" or (piece.kind == "word" and piece.text in kept)
        ]

    def _counted(self, texts: Sequence[str]) -> Array:
        """[texts, 1 + features]: words, then how often each feature occurs."""
        counts = np.zeros((len(texts), 1 + len(self._places)), np.float32)
        for row, text in enumerate(texts):
            counts[row, 0] = len(spoken(text))
            for unit in self._units(text):
                if (place := self._places.get(unit)) is not None:
                    counts[row, 1 + place] += 1
        return counts


class Lengths:
    """1 - Jensen-Shannon distance between histograms of sentence lengths (in words, a sentence
    weighing its words) and of word lengths (in characters), the mean of the two. Words of content
    count as words of a sentence, but how long they are is the topic's doing and left out."""

    name, whole, because = LENGTHS, False, ""

    def __init__(self, masking: Masking) -> None:
        self._kept = masking.kept

    def features(self, texts: Sequence[str]) -> Array:
        bins = len(SENTENCE_EDGES) + 1
        counts = np.zeros((len(texts), bins + LONGEST_WORD), np.float32)
        for row, text in enumerate(texts):
            for sentence in sentences(text):
                counts[row, int(np.digitize(len(sentence), SENTENCE_EDGES))] += len(sentence)
            for word in spoken(text):
                if word in self._kept:
                    counts[row, bins + min(len(word), LONGEST_WORD) - 1] += 1
        return counts

    def likeness(self, bags: Array, of: Array, references: Array, to: Array) -> Array:
        bins = len(SENTENCE_EDGES) + 1
        here, there = bags @ of, references @ to
        by_sentence = jensen_shannon(here[:, :bins], there[:, :bins])
        by_word = jensen_shannon(here[:, bins:], there[:, bins:])
        return np.asarray(1 - (by_sentence + by_word) / 2, np.float32)


def jensen_shannon(here: Array, there: Array) -> Array:
    """Distance (root of the divergence in bits, 0..1) between the rows of two histograms; 1 to an
    empty one."""
    p = here / np.maximum(here.sum(1, keepdims=True), 1e-9)
    q = there / np.maximum(there.sum(1, keepdims=True), 1e-9)
    middle = np.maximum((p + q) / 2, 1e-12)
    divergence = (_times_log(p, middle) + _times_log(q, middle)) / 2
    empty = (here.sum(1) <= 0) | (there.sum(1) <= 0)
    return np.asarray(np.where(empty, 1.0, np.sqrt(np.clip(divergence, 0, 1))), np.float32)


def _times_log(share: Array, middle: Array) -> Array:
    ratio = np.maximum(share, 1e-12) / middle
    return np.asarray(np.where(share > 0, share * np.log2(ratio), 0).sum(1), np.float32)


class Markers:
    """Mean over the answers of their marker score (`evals.voice`), in 0..1. Needs no reference."""

    name, whole, because = MARKERS, True, ""

    def __init__(self, voice: Voice) -> None:
        self._voice = voice

    def features(self, texts: Sequence[str]) -> Array:
        scores = [score_voice(text, self._voice).score for text in texts]
        return np.array(scores, np.float32).reshape(-1, 1)

    def likeness(self, bags: Array, of: Array, references: Array, to: Array) -> Array:
        return np.asarray((bags @ of)[:, 0] / np.maximum(bags.sum(1), 1e-9), np.float32)

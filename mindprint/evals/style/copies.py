"""Copies: what of the answers stands word for word in the training texts."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

from mindprint.evals.text import ngrams, words

RUN = 8
"""Words of a run that nobody says twice by chance."""
SEED = 4
"""Copies are found by runs of this length and followed from there."""


class CopyCheck:
    """Against the training texts, words compared as `evals.text.words` gives them."""

    def __init__(self, trained: Sequence[str]) -> None:
        self._texts = [tokens for text in trained if (tokens := words(text))]
        self._runs: dict[int, set[tuple[str, ...]]] = {}

    def share(self, said: Sequence[str]) -> float:
        """Share of the answers' 8-word runs that stand in a training text; an answer of fewer
        words is one run. 0.0 where there is none."""
        runs: list[tuple[str, ...]] = []
        for text in said:
            tokens = words(text)
            runs += ngrams(tokens, RUN) if len(tokens) >= RUN else [tokens] if tokens else []
        return sum(run in self._known(len(run)) for run in runs) / len(runs) if runs else 0.0

    def longest(self, said: Sequence[str]) -> int:
        """Words of the longest run that one training text holds too."""
        answers = [words(text) for text in said]
        best = max((self._followed(tokens) for tokens in answers), default=0)
        if best:
            return best
        for size in range(SEED - 1, 0, -1):
            if any(gram in self._known(size) for one in answers for gram in ngrams(one, size)):
                return size
        return 0

    def _followed(self, tokens: tuple[str, ...]) -> int:
        """The longest run of at least SEED words from any word of an answer; else 0."""
        best = 0
        for start, seed in enumerate(ngrams(tokens, SEED)):
            if len(tokens) - start <= best:
                break
            for text, place in self._seeds.get(seed, ()):
                known, length = self._texts[text], SEED
                while (
                    start + length < len(tokens)
                    and place + length < len(known)
                    and tokens[start + length] == known[place + length]
                ):
                    length += 1
                best = max(best, length)
        return best

    @cached_property
    def _seeds(self) -> dict[tuple[str, ...], list[tuple[int, int]]]:
        """Each run of SEED words, and where it stands: (text, place)."""
        found: dict[tuple[str, ...], list[tuple[int, int]]] = {}
        for text, tokens in enumerate(self._texts):
            for place, gram in enumerate(ngrams(tokens, SEED)):
                found.setdefault(gram, []).append((text, place))
        return found

    def _known(self, size: int) -> set[tuple[str, ...]]:
        if size not in self._runs:
            self._runs[size] = {gram for text in self._texts for gram in ngrams(text, size)}
        return self._runs[size]

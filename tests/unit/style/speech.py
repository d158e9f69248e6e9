"""Authors and bases for the tests: the shipped author, and speech drawn from word bigrams."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np

import mindprint
from mindprint.curriculum.load import read_curriculum
from mindprint.curriculum.records import Curriculum, HeldOutAnswer, Source

PLAIN = (
    "The {0} is in the {1}. It is good for the {2}.",
    "In the {1} there is a {0}. The {2} comes from the {0}.",
    "It is known that the {0} and the {1} are old. The {2} is new.",
    "During the {2} it is good to see the {0}. The {1} ends with a {0}.",
    "The {0} smells of {1}. Nobody knows the {2}.",
)
_NOUNS = """garden village morning letter river horse bread stone winter market
road lamp apple song window mill boat hill teacher coat"""
NOUNS = tuple(_NOUNS.split())


@lru_cache(maxsize=1)
def demo() -> Curriculum:
    """The curriculum that ships."""
    return read_curriculum(Path(mindprint.__file__).parent / "demo" / "curriculum")


def plain(count: int, seed: int = 0) -> list[str]:
    """A base: sentences of five frames over twenty nouns, three to an answer."""
    rng = np.random.default_rng(seed)
    made = []
    for _ in range(count):
        frames = rng.choice(len(PLAIN), 2, replace=False)
        made.append(" ".join(PLAIN[frame].format(*rng.choice(NOUNS, 3)) for frame in frames))
    return made


def held_out(answers: Sequence[str]) -> tuple[HeldOutAnswer, ...]:
    """An open prompt for each answer, no two alike."""
    source = Source("voice/answers.jsonl", 1)
    words = [f"{noun} {number}" for number in range(5) for noun in NOUNS]
    pairs = zip(words, answers, strict=False)
    return tuple(HeldOutAnswer(f"Tell me of {word}.", answer, source) for word, answer in pairs)


class Chain:
    """A speaker that follows the word pairs of some texts (a Markov chain of first order)."""

    def __init__(self, texts: Sequence[str]) -> None:
        self._after: dict[str, list[str]] = defaultdict(list)
        for text in texts:
            words = text.split()
            if words:
                for word, later in zip(["", *words], [*words, ""], strict=True):
                    self._after[word].append(later)

    def answer(self, rng: np.random.Generator, least: int = 12, most: int = 36) -> str:
        """One answer, ended where a text ends once it holds `least` words."""
        words: list[str] = []
        word = ""
        while len(words) < most:
            choices = self._after[word]
            word = choices[rng.integers(len(choices))]
            if word:
                words.append(word)
            elif len(words) >= least:
                break
        return " ".join(words)

    def answers(self, rng: np.random.Generator, count: int) -> list[str]:
        return [self.answer(rng) for _ in range(count)]

"""Controls: voice scores whose size is known beforehand, shown beside the model's."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mindprint.curriculum.records import Voice
from mindprint.evals.style.scale import Placed, Scale, auc, interval
from mindprint.evals.text import words
from mindprint.evals.voice import score_voice
from mindprint.report.voice import Control, Reading

COPIED_WORDS = 8
"""A training text of fewer words is no answer to copy."""
SHUFFLES = 20


def author(placed: Placed, kept: Sequence[int]) -> Control:
    """The ceiling, from one half of the author's answers scored against the other."""
    value, drawn = placed.headline(kept)
    low, high = interval(drawn)
    return Control(
        name="the author's own answers",
        kind="author",
        value=value,
        low=min(value, low),
        high=max(value, high),
        expected="1, less what chance takes: one half of them scored as if a model had said it",
    )


def base(reading: Reading) -> Control:
    return _of(reading, "the base model", "base", "0, by construction")


def impostor(name: str, reading: Reading) -> Control | None:
    """None where the impostor's answers cannot be measured."""
    return _measured(reading, name, "impostor", "near 0: another author is not this one")


def few_shot(reading: Reading) -> Control | None:
    """None where the answers cannot be measured."""
    told = "what examples in the prompt alone reach; training has to beat it"
    return _measured(reading, "the base shown a few of the author's rows", "few-shot", told)


def copyist(reading: Reading) -> Control | None:
    """None where the copies are too short to measure."""
    told = "high, with nearly all copied: the score alone does not see copying"
    return _measured(reading, "a copyist of the training texts", "copy", told)


def shuffled(scale: Scale, places: Sequence[int], seed: int) -> Control:
    """The AUC of scales whose ends are drawn by lot: for each prompt, which answer is the
    author's. Mean over `places` (families) and lots; interval over lots."""
    rng = np.random.default_rng([seed, 2])
    count = len(scale.author.words)
    lots = []
    for _ in range(SHUFFLES):
        chosen = rng.permutation(count) < count // 2
        high, low = (
            scale.author.swapped(scale.base, chosen),
            scale.base.swapped(scale.author, chosen),
        )
        drawn = Scale(scale.families, scale.draws.fewer(100), high, low)
        above, below = drawn.score(high, drawn.words), drawn.score(low, drawn.words)
        lots.append(np.mean([auc(above[place], below[place]) for place in places]))
    low_end, high_end = np.percentile(lots, [2.5, 97.5])
    value = float(np.mean(lots))
    return Control(
        name="shuffled labels (AUC)",
        kind="shuffled",
        value=value,
        low=min(value, float(low_end)),
        high=max(value, float(high_end)),
        expected="near 0.5, not measurable: no scale where author and base are drawn by lot",
    )


def copied_answers(trained: Sequence[str], voice: Voice, count: int, seed: int) -> list[str]:
    """`count` training texts of 8 words or more, of those with the most marks of the author."""
    known = [text for text in dict.fromkeys(trained) if len(words(text)) >= COPIED_WORDS]
    if not known:
        return []
    marks = [score_voice(text, voice).score for text in known]
    order = np.random.default_rng([seed, 3]).permutation(len(known))
    ranked = sorted(order.tolist(), key=lambda place: -marks[place])
    return [known[ranked[turn % len(ranked)]] for turn in range(count)]


def _measured(reading: Reading, name: str, kind: str, expected: str) -> Control | None:
    return _of(reading, name, kind, expected) if reading.measurable else None


def _of(reading: Reading, name: str, kind: str, expected: str) -> Control:
    values = {
        "name": name,
        "kind": kind,
        "value": reading.value,
        "low": reading.low,
        "high": reading.high,
        "expected": expected,
        "copied": reading.copied,
    }
    return Control.model_validate(values)

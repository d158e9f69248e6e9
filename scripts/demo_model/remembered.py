"""What the model was pretrained on, left beside it so that a curriculum can be held against it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from demo_model.corpus import conversations
from demo_model.pretrain import Plan
from mindprint.curriculum.seen import FILE, Seen

SIZE = 3_750_000  # bytes; with the weights the folder stays below 12 MB


def texts(courses: Sequence[Plan]) -> Iterator[str]:
    """Everything that was drawn for pretraining, and a little more.

    A word is at least one token, so as many words as tokens were trained cover what was drawn.
    """
    for course in courses:
        words = 0
        for talk in conversations(course.seed, course.course):
            yield from (text for _, text in talk)
            words += sum(len(text.split()) for _, text in talk)
            if words > course.tokens:
                break


def remember(courses: Sequence[Plan], folder: Path) -> float:
    """Write the n-grams; return the share that the filter affirms by chance."""
    seen = Seen.of(texts(courses), SIZE)
    seen.save(folder / FILE)
    return seen.false_share()

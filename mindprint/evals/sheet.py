"""An exam as it was sat: the answers, what they were worth, and what was said to open prompts."""

from __future__ import annotations

from dataclasses import dataclass

from mindprint.report.scores import Answer, Score
from mindprint.report.voice import Reading


@dataclass(frozen=True)
class Exam:
    """A topic's quiz under one state of the model: the score and the answers it comes from.

    `clusters`: for each answer the question it is a phrasing of. `open`: the model's answers to
    the run's open prompts at that moment and `reading` their place on the voice scale. `alone`:
    the answers as each was judged by itself, before those given to many questions were struck;
    () where none was.
    """

    score: Score
    answers: tuple[Answer, ...]
    clusters: tuple[int, ...] = ()
    reading: Reading | None = None
    open: tuple[str, ...] = ()
    alone: tuple[Answer, ...] = ()

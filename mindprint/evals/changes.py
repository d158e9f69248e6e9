"""What a run changed in each topic, and which changes hold when all topics are looked at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from mindprint.evals.answers import linear
from mindprint.evals.exact import holm
from mindprint.evals.sheet import Exam
from mindprint.evals.stats import Pairs, averaged, paired
from mindprint.report.model import TopicRecord
from mindprint.report.scores import Answer, Difference, Figure

LEVEL = 0.05


def accuracies(before: Sequence[Answer], after: Sequence[Answer], clusters: Sequence[int]) -> Pairs:
    """What accuracy is made of, answer by answer, at two moments."""
    return Pairs(
        linear(before),
        linear(after),
        clusters,
        floor=0.0,
        floored=[answer.pick is not None for answer in before],
    )


def accuracy_change(
    before: Exam, after: Exam, *, seed: int = 0, resamples: int = 2000
) -> Difference:
    """The paired change of accuracy, choices corrected for guessing; its value, and every resample
    of it, is a difference of two scores, choices below chance counting as 0 in both.
    Raises ValueError where the exams do not have the same questions."""
    pairs = accuracies(before.answers, after.answers, before.clusters)
    return averaged([pairs], seed=seed, resamples=resamples)


def changes(
    base: Exam,
    final: Exam,
    voice: Difference | None,
    *,
    seed: int = 0,
    resamples: int = 2000,
) -> dict[Figure, Difference]:
    """Final minus base: accuracy and markers paired by question, `voice` where it was measured.

    Raises ValueError where the exams do not have the same questions.
    """
    found: dict[Figure, Difference] = {
        "accuracy": accuracy_change(base, final, seed=seed, resamples=resamples)
    }
    if voice is not None:
        found["voice"] = voice
    found["markers"] = paired(
        _markers(base.answers),
        _markers(final.answers),
        base.clusters,
        seed=seed,
        resamples=resamples,
    )
    return found


def clear(changes: Sequence[Mapping[Figure, Difference]]) -> list[tuple[Figure, ...]]:
    """For each topic the figures whose change is beyond doubt: the interval excludes 0, and p
    stays below 0.05 after Holm's correction over the topics that have this figure."""
    standing: list[list[Figure]] = [[] for _ in changes]
    figures = dict.fromkeys(figure for topic in changes for figure in topic)
    for figure in figures:
        having = [place for place, topic in enumerate(changes) if figure in topic]
        adjusted = holm([changes[place][figure].p for place in having])
        for place, p in zip(having, adjusted, strict=True):
            change = changes[place][figure]
            if p < LEVEL and (change.rose or change.fell):
                standing[place].append(figure)
    return [tuple(found) for found in standing]


def overall(
    topics: Sequence[TopicRecord], *, seed: int = 0, resamples: int = 2000
) -> dict[Figure, Difference]:
    """Accuracy and markers, final minus base: the mean over finished topics of the difference of
    their scores, questions resampled within each topic and phrasings of one together. Empty while
    no topic is finished."""
    found: dict[Figure, list[Pairs]] = {"accuracy": [], "markers": []}
    for topic in topics:
        asked = [one for one in topic.questions if {"base", "final"} <= one.answers.keys()]
        if not asked:
            continue
        clusters = [question.cluster for question in asked]
        base = [question.answers["base"] for question in asked]
        final = [question.answers["final"] for question in asked]
        found["accuracy"].append(accuracies(base, final, clusters))
        found["markers"].append(Pairs(_markers(base), _markers(final), clusters))
    return {
        figure: averaged(quizzes, seed=seed, resamples=resamples)
        for figure, quizzes in found.items()
        if quizzes
    }


def _markers(answers: Sequence[Answer]) -> list[float]:
    return [answer.voice for answer in answers]

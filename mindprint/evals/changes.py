"""What a run changed in each topic, and which changes hold when all topics are looked at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from mindprint.evals.answers import linear
from mindprint.evals.stats import holm, paired
from mindprint.gate import Exam, accuracy_change
from mindprint.report.model import TopicRecord
from mindprint.report.scores import Difference, Figure, StageName

LEVEL = 0.05


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
    drawn = {"seed": seed, "resamples": resamples}
    found: dict[Figure, Difference] = {
        "accuracy": accuracy_change(base, final, seed=seed, resamples=resamples)
    }
    if voice is not None:
        found["voice"] = voice
    found["markers"] = paired(
        [answer.voice for answer in base.answers],
        [answer.voice for answer in final.answers],
        base.clusters,
        **drawn,
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
    """Accuracy and markers, final minus base, paired over the questions of all finished topics;
    phrasings of one question stay together. Empty while no topic is finished."""
    earlier: dict[Figure, list[float]] = {"accuracy": [], "markers": []}
    later: dict[Figure, list[float]] = {"accuracy": [], "markers": []}
    numbers: dict[tuple[str, int], int] = {}
    clusters: list[int] = []
    for topic in topics:
        ends = [one for one in topic.questions if {"base", "final"} <= one.answers.keys()]
        clusters += [numbers.setdefault((topic.id, q.cluster), len(numbers)) for q in ends]
        states: dict[StageName, dict[Figure, list[float]]] = {"base": earlier, "final": later}
        for state, into in states.items():
            answers = [question.answers[state] for question in ends]
            into["accuracy"] += linear(answers)
            into["markers"] += [answer.voice for answer in answers]
    if not clusters:
        return {}
    return {
        figure: paired(earlier[figure], later[figure], clusters, seed=seed, resamples=resamples)
        for figure in earlier
    }

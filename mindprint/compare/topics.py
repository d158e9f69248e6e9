"""Scores of each topic as every run left it, and paired differences from the first run."""

from __future__ import annotations

from collections.abc import Sequence

from mindprint.compare.model import Overall, TopicScores
from mindprint.compare.run import Run
from mindprint.evals.changes import accuracies
from mindprint.evals.stats import Pairs, averaged
from mindprint.report.model import TopicRecord
from mindprint.report.scores import Answer, Difference, Interval, Score

SEED, RESAMPLES = "run.seed", "eval.resamples"


def topic_scores(runs: Sequence[Run]) -> tuple[TopicScores, ...]:
    """In the first run's order, what only others have after it. Paired by question where the quiz
    is the same; intervals are drawn with the first run's seed and resamples."""
    names = dict.fromkeys(topic.id for run in runs for topic in run.topics)
    return tuple(_topic(runs, name) for name in names)


def overall(first: Run, other: Run) -> Overall:
    """Over all questions of the topics that both finished and whose quiz is the same."""
    twins = [
        (topic, twin)
        for topic in first.topics
        if (twin := other.topic(topic.id)) is not None and comparable(topic, twin)
    ]
    return Overall(
        run=other.name,
        accuracy=_averaged(first, [_accuracy(*both) for both in twins]),
        markers=_averaged(first, [_markers(*both) for both in twins]),
        voice=(_voice(first), _voice(other)),
    )


def paired(runs: Sequence[Run]) -> bool:
    """Whether every topic that the first run and another have was asked the same quiz, as far as
    it was asked, and there is one such topic at least for each."""
    first = runs[0]
    for other in runs[1:]:
        both = [(one, twin) for one in first.topics if (twin := other.topic(one.id)) is not None]
        asked = [pair for pair in both if pair[0].questions and pair[1].questions]
        if not asked or not all(same_quiz(*pair) for pair in asked):
            return False
    return True


def same_quiz(topic: TopicRecord, twin: TopicRecord) -> bool:
    asked = [
        [(one.question, one.reference, one.cluster) for one in record.questions]
        for record in (topic, twin)
    ]
    return asked[0] == asked[1]


def comparable(topic: TopicRecord, twin: TopicRecord) -> bool:
    """Both finished, with the same questions."""
    return bool(_final(topic)) and bool(_final(twin)) and same_quiz(topic, twin)


def _topic(runs: Sequence[Run], name: str) -> TopicScores:
    records = [run.topic(name) for run in runs]
    known = [record for record in records if record is not None]
    finals = [_score(record) for record in records]
    first = records[0]
    twins = [
        (first, one) if first is not None and one is not None and comparable(first, one) else None
        for one in records[1:]
    ]
    reference = runs[0]
    return TopicScores(
        id=name,
        title=known[0].title,
        accuracy=tuple(None if one is None else one.accuracy for one in finals),
        voice=tuple(None if one is None else one.voice for one in finals),
        status=tuple("" if one is None else one.status for one in records),
        accuracy_changes=tuple(
            None if both is None else _averaged(reference, [_accuracy(*both)]) for both in twins
        ),
        markers_changes=tuple(
            None if both is None else _averaged(reference, [_markers(*both)]) for both in twins
        ),
        voice_intervals=tuple(None if one is None else one.voice_interval for one in finals),
    )


def _score(record: TopicRecord | None) -> Score | None:
    return None if record is None else record.scores.get("final")


def _final(record: TopicRecord) -> list[Answer]:
    """The answers at its end, [] where any is missing."""
    found = [one.answers["final"] for one in record.questions if "final" in one.answers]
    return found if len(found) == len(record.questions) else []


def _accuracy(topic: TopicRecord, twin: TopicRecord) -> Pairs:
    return accuracies(_final(topic), _final(twin), [one.cluster for one in topic.questions])


def _markers(topic: TopicRecord, twin: TopicRecord) -> Pairs:
    """The author's marks in each answer."""
    here, there = ([answer.voice for answer in _final(one)] for one in (topic, twin))
    return Pairs(here, there, [one.cluster for one in topic.questions])


def _averaged(first: Run, quizzes: Sequence[Pairs]) -> Difference | None:
    if not quizzes:
        return None
    seed, resamples = (int(str(first.value(key))) for key in (SEED, RESAMPLES))
    return averaged(quizzes, seed=seed, resamples=resamples)


def _voice(run: Run) -> Interval | None:
    """The calibrated voice of the last state, where it could be measured."""
    record = run.result.voice
    if record is None or not record.measurable or record.final is None:
        return None
    reading = record.final
    if not reading.measurable:
        return None
    return Interval(value=reading.value, low=reading.low, high=reading.high)

"""Scores of each topic as every run left it, and paired differences from the first run."""

from __future__ import annotations

from collections.abc import Sequence

from mindprint.compare.model import Overall, TopicScores
from mindprint.compare.run import Run
from mindprint.compare.voices import Scale, asked, last_voice
from mindprint.evals.changes import accuracies
from mindprint.evals.stats import Pairs, averaged
from mindprint.report.model import TopicRecord
from mindprint.report.scores import Answer, Difference, Score

SEED, RESAMPLES = "run.seed", "eval.resamples"


def topic_scores(runs: Sequence[Run], scale: Scale) -> tuple[TopicScores, ...]:
    """In the first run's order, what only others have after it. Paired by question where the quiz
    is the same; intervals are drawn with the first run's seed and resamples. `scale`: that of the
    first run, which the voices are paired on."""
    names = dict.fromkeys(topic.id for run in runs for topic in run.topics)
    return tuple(_topic(runs, name, scale) for name in names)


def overall(first: Run, other: Run, scale: Scale) -> Overall:
    """Over all questions of the topics that both finished and whose quiz is the same."""
    twins = [
        (topic, twin)
        for topic in first.topics
        if (twin := _twin(first, other, topic.id)) is not None
    ]
    change, because = scale.at_the_end(other)
    return Overall(
        run=other.name,
        accuracy=_averaged(first, [_accuracy(*both) for both in twins]),
        markers=_averaged(first, [_markers(*both) for both in twins]),
        voice=(last_voice(first), last_voice(other)),
        phrasings=sum(len(topic.questions) for topic, _ in twins),
        prompts=len(asked(first)),
        voice_change=change,
        voice_because=because,
    )


def paired(runs: Sequence[Run]) -> bool:
    """Whether every topic that the first run and another have was asked the same quiz, as far as
    it was asked, and there is one such topic at least for each; not with a run that a topic was
    dropped from."""
    first = runs[0]
    if any(run.dropped for run in runs):
        return False
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


def _twin(first: Run, other: Run, name: str) -> TopicRecord | None:
    """The other run's topic, where its scores can be paired with the first's. A run that a topic
    was dropped from has scores of the whole model, others of each topic's own end."""
    if first.dropped or other.dropped:
        return None
    topic, twin = first.topic(name), other.topic(name)
    both = topic is not None and twin is not None and comparable(topic, twin)
    return twin if both else None


def _topic(runs: Sequence[Run], name: str, scale: Scale) -> TopicScores:
    records = [run.topic(name) for run in runs]
    known = [record for record in records if record is not None]
    finals = [_score(record) for record in records]
    reference, first = runs[0], records[0]
    paired = [_twin(reference, other, name) for other in runs[1:]]
    twins = [(first, one) if first is not None and one is not None else None for one in paired]
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
        voice_changes=tuple(scale.of_topic(other, name) for other in runs[1:]),
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

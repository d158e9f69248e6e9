"""What the reports say about a result as a whole: means, places, and which stages stand."""

from __future__ import annotations

from collections.abc import Iterator
from typing import get_args

from mindprint.report.model import Result, StageRecord, TopicRecord
from mindprint.report.scores import Figure, Score, StageName
from mindprint.report.words import LABELS, several, size

STATES: tuple[StageName, ...] = get_args(StageName)
MEASURES: tuple[Figure, ...] = get_args(Figure)


def value(score: Score | None, measure: Figure) -> float | None:
    return None if score is None else float(getattr(score, measure))


def interval(score: Score | None, measure: Figure) -> tuple[float, float] | None:
    """The 95 % interval of one figure, where one was drawn."""
    if score is None:
        return None
    found: tuple[float, float] | None = getattr(score, f"{measure}_interval")
    return found


def by_markers(topic: TopicRecord) -> bool:
    """Whether this topic's voice, as it ended, is its marker score: the calibrated one could not
    be measured."""
    score = last_score(topic) or first_score(topic)
    return score is not None and score.voice_by == "markers"


def odd_one(topic: TopicRecord, state: StageName) -> bool:
    """A state whose voice was taken by the markers in a topic that is calibrated otherwise."""
    score = topic.scores.get(state)
    return score is not None and score.voice_by == "markers" and not by_markers(topic)


def measures(topic: TopicRecord) -> tuple[Figure, ...]:
    """The figures worth a line: the markers only where they are not the voice already."""
    if not topic.scores or by_markers(topic):
        return ("accuracy", "voice")
    return MEASURES


def measure_name(topic: TopicRecord, measure: Figure) -> str:
    return "voice (by markers)" if measure == "voice" and by_markers(topic) else measure


def first_score(topic: TopicRecord) -> Score | None:
    """Under the base, or as the topic began where the base was not asked."""
    return topic.scores.get("base") or topic.scores.get("before")


def last_score(topic: TopicRecord) -> Score | None:
    """Under the last state that was evaluated, the first not counted."""
    later = (topic.scores.get(state) for state in reversed(STATES[1:]))
    return next((score for score in later if score is not None), None)


def mean(result: Result, state: StageName, measure: Figure) -> float | None:
    """Over the topics that were taught to their end (all of them while none was); None where one
    of these was not evaluated at `state`, since a mean over fewer topics cannot be compared."""
    ended = [topic for topic in result.topics if "final" in topic.scores]
    found = [value(topic.scores.get(state), measure) for topic in ended or result.topics]
    known = [one for one in found if one is not None]
    return sum(known) / len(known) if known and len(known) == len(found) else None


def mean_measures(result: Result) -> tuple[Figure, ...]:
    """The figures that have a line in the table of means."""
    shown = {measure for topic in result.topics for measure in measures(topic)}
    return tuple(measure for measure in MEASURES if measure in shown) or ("accuracy", "voice")


def right_and_voiced(result: Result) -> float | None:
    """Share of the final quiz answers that are right and carry the author's marks."""
    finals = [topic.scores["final"] for topic in result.topics if "final" in topic.scores]
    asked = sum(score.questions for score in finals)
    return sum(score.voiced * score.questions for score in finals) / asked if asked else None


def passed(result: Result) -> int:
    return sum(topic.status == "passed" for topic in result.topics)


def headline(result: Result) -> str:
    """`5 of 6 topics passed`."""
    return f"{passed(result)} of {several(len(result.topics), 'topic')} passed"


def gate(result: Result, measure: Figure) -> float | None:
    """The pass mark, for the figures that have one."""
    found = result.config.get(f"gate.{measure}")
    return float(found[0]) if found and isinstance(found[0], int | float) else None


def stages(result: Result) -> Iterator[tuple[TopicRecord, StageRecord]]:
    for topic in result.topics:
        for stage in topic.stages:
            yield topic, stage


def undone(topic: TopicRecord, state: StageName) -> bool:
    """Whether the stage behind this state was run and none of its attempts was kept."""
    run = [stage for stage in topic.stages if stage.name == state]
    return bool(run) and not any(stage.accepted for stage in run)


def state_label(topic: TopicRecord, state: StageName) -> str:
    """`after DPO`, or `after DPO, undone`."""
    return LABELS[state] + (", undone" if undone(topic, state) else "")


def choice(result: Result, key: str) -> str:
    """The name that was chosen for `key`, or an empty string."""
    return next((choice.name for choice in result.choices if choice.key == key), "")


def places(result: Result) -> dict[str, int]:
    """Topic id -> its place in the order of teaching, from 1."""
    return {topic.id: at for at, topic in enumerate(result.topics, start=1)}


def stage_label(stage: StageRecord) -> str:
    """`SFT`, `SFT, attempt 2`: attempts are counted from 0 in the record."""
    return stage.name.upper() + (f", attempt {stage.attempt + 1}" if stage.attempt else "")


def voice_basis(result: Result) -> str:
    """What the figure called voice rests on in this run, said aloud."""
    record = result.voice
    if record is None or not record.measurable:
        why = record.because if record is not None else "this run has no voice scale"
        return (
            f"Voice goes by the markers here, since it could not be calibrated "
            f"({why.rstrip('.')}): it counts how often the author's marks stand in an answer, and "
            "says nothing of the rest."
        )
    basis = (
        f"Voice is calibrated on {several(record.prompts, 'open prompt')} shared by the whole "
        "run: 0 is how the base answers them, 1 how the author does. Markers are the author's "
        "marks in the answers to the topic's own quiz."
    )
    fallen = [topic.title for topic in result.topics if by_markers(topic)]
    if fallen:
        basis += f" It goes by the markers, not being measurable there, in: {', '.join(fallen)}."
    return basis


def expected_memory(result: Result) -> str:
    """What the plan said that each part of the run would take."""
    return ", ".join(f"{size(need)} in {part}" for part, need in result.expected_memory.items())

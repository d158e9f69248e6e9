"""What the reports say about a result, worked out once: means, order of answers, what was kept."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, get_args

from mindprint.report.model import (
    Answer,
    Question,
    Result,
    Score,
    StageName,
    StageRecord,
    TopicRecord,
)
from mindprint.report.words import several

STATES: tuple[StageName, ...] = get_args(StageName)
Measure = Literal["accuracy", "voice"]
MEASURES: tuple[Measure, ...] = get_args(Measure)


@dataclass(frozen=True)
class Shown:
    """A question with the topic it belongs to, ready to be put side by side."""

    topic: TopicRecord
    question: Question

    @property
    def worth(self) -> float:
        """Accuracy plus voice of its last answer: what the order goes by."""
        last = last_answer(self.question)
        return 2.0 if last is None else last.accuracy + last.voice


@dataclass(frozen=True)
class Kept:
    """An earlier topic asked again: its score as it was learned, and after each later topic."""

    id: str
    title: str
    learned: Score | None
    later: tuple[Score | None, ...]


def value(score: Score | None, measure: Measure) -> float | None:
    return None if score is None else float(getattr(score, measure))


def last_answer(question: Question) -> Answer | None:
    for state in reversed(STATES):
        if state in question.answers:
            return question.answers[state]
    return None


def shown_states(question: Question) -> tuple[StageName, ...]:
    """Base, after SFT, and after DPO or, where there was none, the final state."""
    ends: tuple[StageName, ...] = ("dpo", "final")
    last = next((state for state in ends if state in question.answers), None)
    wanted: list[StageName] = ["base", "sft"]
    found = [state for state in wanted if state in question.answers]
    if last is not None and not _same_as_sft(question, last):
        found.append(last)
    return tuple(found) or tuple(question.answers)


def _same_as_sft(question: Question, state: StageName) -> bool:
    """The final answer of a topic without DPO is its SFT answer: not worth a third column."""
    return state == "final" and question.answers.get("sft") == question.answers[state]


def worst_first(topic: TopicRecord) -> list[Shown]:
    return sorted((Shown(topic, q) for q in topic.questions), key=lambda shown: shown.worth)


def weakest(result: Result, limit: int = 6, of_one_topic: int = 2) -> list[Shown]:
    """The weakest answers of the run, few of any one topic; ties keep the order of the topics."""
    some = [shown for topic in result.topics for shown in worst_first(topic)[:of_one_topic]]
    return sorted(some, key=lambda shown: shown.worth)[:limit]


def mean(result: Result, state: StageName, measure: Measure) -> float | None:
    """Over the topics that were taught to their end (all of them while none was); None where one
    of these was not evaluated at `state`, since a mean over fewer topics cannot be compared."""
    ended = [topic for topic in result.topics if "final" in topic.scores]
    found = [value(topic.scores.get(state), measure) for topic in ended or result.topics]
    known = [one for one in found if one is not None]
    return sum(known) / len(known) if known and len(known) == len(found) else None


def passed(result: Result) -> int:
    return sum(topic.status == "passed" for topic in result.topics)


def headline(result: Result) -> str:
    """`5 of 6 topics passed`."""
    return f"{passed(result)} of {several(len(result.topics), 'topic')} passed"


def gate(result: Result, measure: Measure) -> float | None:
    found = result.config.get(f"gate.{measure}")
    return float(found[0]) if found and isinstance(found[0], int | float) else None


def stages(result: Result) -> Iterator[tuple[TopicRecord, StageRecord]]:
    for topic in result.topics:
        for stage in topic.stages:
            yield topic, stage


def kept(result: Result) -> list[Kept]:
    """One row per topic that was asked again after a later one, and one for the retention set."""
    order = places(result)
    titles = {topic.id: f"{order[topic.id]} {topic.title}" for topic in result.topics}
    # Asked right after the topic itself: the same questions as later, so a fall is a fall.
    learned = {topic.id: topic.scores.get("final") for topic in result.topics}
    learned |= {one.after: one.scores.get(one.after) for one in result.forgetting}
    rows = []
    names = dict.fromkeys(key for retained in result.forgetting for key in retained.scores)
    for name in sorted(names, key=lambda name: order.get(name, len(order) + 1)):
        later = tuple(
            retained.scores.get(name) if retained.after != name else None
            for retained in result.forgetting
        )
        if not any(later):
            continue
        if name == "retention":
            rows.append(Kept(name, "What the base knew", result.retention_base, later))
        else:
            rows.append(Kept(name, titles.get(name, name), learned.get(name), later))
    return rows


def choice(result: Result, key: str) -> str:
    """The name that was chosen for `key`, or an empty string."""
    return next((choice.name for choice in result.choices if choice.key == key), "")


def places(result: Result) -> dict[str, int]:
    """Topic id -> its place in the order of teaching, from 1."""
    return {topic.id: at for at, topic in enumerate(result.topics, start=1)}


def stage_label(stage: StageRecord) -> str:
    """`SFT`, `SFT, attempt 2`: attempts are counted from 0 in the record."""
    return stage.name.upper() + (f", attempt {stage.attempt + 1}" if stage.attempt else "")

"""The voice scale as tables: families, controls, words, and its course over the run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mindprint.report.model import Result, TopicRecord
from mindprint.report.scores import StageName
from mindprint.report.summary import places, state_label, undone
from mindprint.report.text import Table
from mindprint.report.voice import Control, FamilyReading, OpenAnswer, Reading, VoiceRecord, WordUse
from mindprint.report.words import NONE, percent, share, signed, span, whole

OPEN_ANSWERS = 3


@dataclass(frozen=True)
class Point:
    """The headline of the voice at one moment: `place` is the topic's, 0 for the base; `stands`:
    the state in which the topic left the model."""

    place: int
    label: str
    reading: Reading
    stands: bool
    undone: bool


def unmeasured(result: Result) -> str:
    """Why there is no voice scale to show; empty where there is one."""
    record = result.voice
    if record is None:
        return "This run has no voice scale: the open prompts were not asked."
    if not record.measurable:
        why = record.because.strip().rstrip(".") or "the instrument gave no reason"
        return f"The voice could not be calibrated: {why}."
    return ""


def placed(result: Result) -> Reading | None:
    """The final model's place on the scale; None where there is no scale or it has none on it."""
    final = result.voice.final if result.voice is not None else None
    return final if final is not None and final.measurable and not unmeasured(result) else None


def against_examples(record: VoiceRecord) -> str:
    """Whether training beat a few of the author's rows in the base's prompt, by whether the two
    intervals part; empty where one of the two was not measured."""
    shown = next((one for one in record.controls if one.kind == "few-shot"), None)
    final = record.final
    if shown is None or final is None or not final.measurable:
        return ""
    figures = (
        f"{share(final.value)} ({span(final.low, final.high)}) against {share(shown.value)} "
        f"({span(shown.low, shown.high)})"
    )
    if final.low > shown.high:
        return f"Training beats examples in the prompt alone: {figures}."
    if final.high < shown.low:
        return f"Training does not reach what examples in the prompt alone do: {figures}."
    return f"Training and examples in the prompt alone cannot be told apart by voice: {figures}."


def course(result: Result) -> list[Point]:
    """The base, then for each topic its stages and, where it is none of these, its final state."""
    order = places(result)
    points: list[Point] = []
    for topic in result.topics:
        if not points and (base := topic.readings.get("base")) is not None:
            points.append(Point(0, "base", base, True, False))
        points += [_point(order[topic.id], topic, state) for state in _states(topic)]
    return [point for point in points if point.reading.measurable]


def _states(topic: TopicRecord) -> list[StageName]:
    """The final state is drawn on its own only where no kept stage ended in it."""
    run: tuple[StageName, ...] = ("sft", "dpo")
    found = [state for state in run if state in topic.readings]
    if "final" in topic.readings and not any(_ends_in(topic, state) for state in found):
        found.append("final")
    return found


def _ends_in(topic: TopicRecord, state: StageName) -> bool:
    return not undone(topic, state) and topic.readings[state] == topic.readings.get("final")


def _point(place: int, topic: TopicRecord, state: StageName) -> Point:
    stands = state == "final" or _ends_in(topic, state)
    label = f"{place} {topic.title}, {state_label(topic, state)}"
    return Point(place, label, topic.readings[state], stands, undone(topic, state))


def course_table(result: Result) -> Table:
    rows = tuple(
        (
            point.label,
            share(point.reading.value),
            span(point.reading.low, point.reading.high),
            share(point.reading.unclipped),
            percent(point.reading.copied),
            percent(point.reading.on_prompt),
        )
        for point in course(result)
    )
    head = ("moment", "voice", "95 %", "unclipped", "copied", "on prompt")
    return Table(head, rows, frozenset(range(1, 6)))


def family_table(reading: Reading) -> Table:
    rows = tuple(_family(family) for family in reading.families)
    head = ("family", "value", "95 %", "base", "author", "model", "AUC", "")
    together = ("all together", share(reading.value), span(reading.low, reading.high))
    return Table(head, (*rows, (*together, "", "", "", "", "")), frozenset(range(1, 7)))


def _family(family: FamilyReading) -> tuple[str, ...]:
    measured = family.measurable
    return (
        family.name,
        share(family.value) if measured else NONE,
        span(family.low, family.high) if measured else NONE,
        share(family.base),
        share(family.author),
        share(family.model),
        share(family.auc),
        "" if measured else f"not measurable: {family.because}",
    )


def control_table(controls: Sequence[Control]) -> Table:
    rows = tuple(
        (c.name, share(c.value), span(c.low, c.high), percent(c.copied), c.expected)
        for c in controls
    )
    return Table(("control", "voice", "95 %", "copied", "expected"), rows, frozenset({1, 2, 3}))


def word_table(words: Sequence[WordUse]) -> Table:
    rows = tuple(
        (use.word, whole(use.model), whole(use.author), signed(use.z, 1)) for use in by_z(words)
    )
    return Table(("word", "model", "author", "z"), rows, frozenset({1, 2, 3}))


def by_z(words: Sequence[WordUse]) -> list[WordUse]:
    """The most overused first, the most underused last."""
    return sorted(words, key=lambda use: -use.z)


def some_answers(record: VoiceRecord, count: int = OPEN_ANSWERS) -> list[OpenAnswer]:
    """A few of the open answers, evenly taken, so that nobody has chosen them."""
    answered = [one for one in record.answers if one.final.strip()] or list(record.answers)
    if len(answered) <= count:
        return answered
    return [answered[at * len(answered) // count] for at in range(count)]

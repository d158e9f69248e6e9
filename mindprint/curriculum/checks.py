"""What records say together: faults of a topic, and what is said aloud though it is no fault."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from mindprint.curriculum.records import Curriculum, QuizItem, Source, Topic, Voice
from mindprint.errors import Fault
from mindprint.evals.quiz import recall
from mindprint.evals.text import normalise, overlap_share
from mindprint.evals.voice import TIME_LIMIT, score_voice

FEW_ITEMS = 8
"""Quiz items below which a topic's score says little."""
WORDS = 8
"""Length in words of the n-grams of `overlap`."""
OWN_VOICE = 0.75
"""The default of `gate.voice`: an author who does not reach it cannot be imitated up to it."""


@dataclass(frozen=True)
class Overlap:
    """Shares, in 0..1, of the word n-grams of the quiz that the training text holds."""

    n: int
    questions: float
    references: float


def overlap(curriculum: Curriculum, n: int = WORDS) -> Overlap:
    """How much of all quiz questions, and of their references, stands in what is trained on.

    Trained text: every message of the training rows, and both sides of the preferences.
    """
    trained = [text for topic in curriculum.topics for text in trained_texts(topic)]
    items = [item for topic in curriculum.topics for item in topic.quiz]
    return Overlap(
        n=n,
        questions=overlap_share([item.question for item in items], trained, n),
        references=overlap_share([item.reference for item in items], trained, n),
    )


def trained_texts(topic: Topic) -> Iterator[str]:
    for row in topic.train:
        yield from (message.content for message in row.messages)
    for pair in topic.preferences:
        yield from (message.content for message in pair.prompt)
        yield from (pair.chosen, pair.rejected)


def topic_faults(topic: Topic) -> list[Fault]:
    """Faults that no single field shows."""
    faults = []
    for pair in topic.preferences:
        if pair.chosen.strip() == pair.rejected.strip():
            faults.append(_fault(pair.source, "chosen equals rejected", "rejected"))
    asked = questions(topic)
    for item in topic.quiz:
        faults += item_faults(item)
        source = asked.get(normalise(item.question))
        if source is not None:
            what = f"this question is trained on at {source}; ask it in other words"
            faults.append(_fault(item.source, what, "question"))
    return faults


def questions(topic: Topic) -> dict[str, Source]:
    """What users ask in training rows and preferences, normalised, and where it first stands."""
    found: dict[str, Source] = {}
    for row in topic.train:
        for message in row.messages:
            if message.role == "user":
                found.setdefault(normalise(message.content), row.source)
    for pair in topic.preferences:
        found.setdefault(normalise(pair.prompt[-1].content), pair.source)
    return found


def item_faults(item: QuizItem) -> list[Fault]:
    """Faults of one quiz item, of a topic or of the retention set."""
    faults = []
    if not item.key_points and item.answer is None:
        what = "has neither key points nor choices: no answer could be judged"
        faults.append(_fault(item.source, what, "key_points"))
    for place, aliases in enumerate(item.key_points):
        for number, alias in enumerate(aliases):
            if not normalise(alias):
                what = f"`{alias}` holds no word to look for"
                faults.append(_fault(item.source, what, f"key_points[{place}][{number}]"))
    for place, claim in enumerate(item.forbidden):
        if not normalise(claim):
            what = f"`{claim}` holds no word to look for"
            faults.append(_fault(item.source, what, f"forbidden[{place}]"))
    if item.choices:
        if len(item.choices) < 2:
            faults.append(_fault(item.source, "one choice is no choice", "choices"))
        if len(set(item.choices)) < len(item.choices):
            faults.append(_fault(item.source, "two choices are the same", "choices"))
    return faults


def notices(curriculum: Curriculum) -> list[str]:
    """What a person should know before training, none of it a fault."""
    said = [_formats(curriculum)]
    if not curriculum.voice.markers:
        said.append("voice.yaml holds no markers: voice scores 1.00 unless a never-phrase is said")
    for topic in curriculum.topics:
        said += _topic_notices(topic)
    said += _shared_questions(curriculum)
    without = [topic.id for topic in curriculum.topics if not topic.preferences]
    if without:
        said.append(
            f"no preferences.jsonl in {_some(without)}: DPO there needs `dpo.pairs` self or both"
        )
    return [*said, *_own_voice(curriculum.voice)]


def _formats(curriculum: Curriculum) -> str:
    counts = Counter(curriculum.formats.values())
    found = ", ".join(
        f"{form} ({count} file{'s' if count > 1 else ''})" for form, count in sorted(counts.items())
    )
    return f"row formats found: {found}"


def _topic_notices(topic: Topic) -> Iterator[str]:
    seen: dict[object, Source] = {}
    repeats = [
        f"{row.source} repeats line {seen[row.messages].line}"
        for row in topic.train
        if seen.setdefault(row.messages, row.source) != row.source
    ]
    if repeats:
        yield f"{topic.id}: {len(repeats)} training rows are trained on twice: {_some(repeats)}"
    if len(topic.quiz) < FEW_ITEMS:
        yield f"{topic.id}: {len(topic.quiz)} quiz items; intervals will be wide below {FEW_ITEMS}"
    again = Counter(normalise(item.question) for item in topic.quiz)
    if sum(again.values()) > len(again):
        yield f"{topic.id}: {sum(again.values()) - len(again)} quiz questions are asked twice"
    for item in topic.quiz:
        told = recall(item, item.reference)
        if told.accuracy < 1:
            yield (
                f"{item.source}: the reference itself scores {told.accuracy:.2f} "
                f"({'; '.join(told.reasons)})"
            )


def _shared_questions(curriculum: Curriculum) -> Iterator[str]:
    asked = {topic.id: questions(topic) for topic in curriculum.topics}
    for topic in curriculum.topics:
        for other in curriculum.topics:
            for item in topic.quiz if other is not topic else ():
                source = asked[other.id].get(normalise(item.question))
                if source is not None:
                    yield f"{item.source}: this question is trained on elsewhere, at {source}"


def _own_voice(voice: Voice) -> Iterator[str]:
    """How the author's own held-out answers fare by the markers."""
    if not voice.markers or not voice.answers:
        return
    scores = [score_voice(answer.answer, voice) for answer in voice.answers]
    for pattern in dict.fromkeys(pattern for one in scores for pattern in one.slow):
        yield f"voice.yaml: `{pattern}` takes more than {TIME_LIMIT} s on the author's own answers"
    mean = sum(one.score for one in scores) / len(scores)
    if mean < OWN_VOICE:
        yield (
            f"the author's own held-out answers score {mean:.2f} by voice.yaml's markers: "
            "the gate on voice may be out of reach"
        )


def _some(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _fault(source: Source, what: str, at: str) -> Fault:
    return Fault(source.file, source.line, what, at)

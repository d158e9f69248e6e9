"""What records say together: faults of a topic, and what is said aloud though it is no fault."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from mindprint.curriculum.held_out import RUN, held_out_notices
from mindprint.curriculum.records import Curriculum, QuizItem, Source, Topic, Voice
from mindprint.curriculum.trained import questions
from mindprint.curriculum.trained import trained_texts as trained_texts
from mindprint.curriculum.values import printable
from mindprint.errors import Fault
from mindprint.evals.negation import Spoken
from mindprint.evals.prompts import FEWEST
from mindprint.evals.quiz import denies, key_points, recall
from mindprint.evals.text import normalise, overlap_share
from mindprint.evals.voice import TIME_LIMIT, score_voice
from mindprint.visible import visible_line

FEW_ITEMS = 8
"""Different quiz questions below which a topic's score says little."""
WORDS = RUN
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
            faults.append(_fault(item.source, what, _question_field(item)))
    return faults


def item_faults(item: QuizItem) -> list[Fault]:
    """Faults of one quiz item, of a topic or of the retention set.

    A paraphrase has none: its row's are told once, with the question.
    """
    if item.phrasing:
        return []
    faults = []
    if not item.key_points and item.answer is None:
        what = "has neither key points nor choices: no answer could be judged"
        faults.append(_fault(item.source, what, "key_points"))
    for place, aliases in enumerate(item.key_points):
        for number, alias in enumerate(aliases):
            if not normalise(alias):
                what = f"`{printable(alias)}` holds no word to look for"
                faults.append(_fault(item.source, what, f"key_points[{place}][{number}]"))
    for place, claim in enumerate(item.forbidden):
        if not normalise(claim):
            what = f"`{printable(claim)}` holds no word to look for"
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
        said += _topic_notices(topic, curriculum.voice)
    said += _shared_questions(curriculum)
    without = [topic.id for topic in curriculum.topics if not topic.preferences]
    if without:
        said.append(
            f"no preferences.jsonl in {_some(without)}: DPO there needs `dpo.pairs` self or both"
        )
    said += [*_held_out(curriculum.voice), *held_out_notices(curriculum)]
    return [visible_line(one) for one in (*said, *_own_voice(curriculum.voice))]


def _formats(curriculum: Curriculum) -> str:
    counts = Counter(curriculum.formats.values())
    found = ", ".join(
        f"{form} ({count} file{'s' if count > 1 else ''})" for form, count in sorted(counts.items())
    )
    return f"row formats found: {found}"


def _topic_notices(topic: Topic, voice: Voice) -> Iterator[str]:
    seen: dict[object, Source] = {}
    repeats = [
        f"{row.source} repeats line {seen[row.messages].line}"
        for row in topic.train
        if seen.setdefault(row.messages, row.source) != row.source
    ]
    if repeats:
        yield f"{topic.id}: {len(repeats)} training rows are trained on twice: {_some(repeats)}"
    asked = len({item.cluster for item in topic.quiz})
    if asked < FEW_ITEMS:
        many = f"{asked} different quiz question{'' if asked == 1 else 's'}"
        yield f"{topic.id}: {many}; intervals will be wide below {FEW_ITEMS}"
    again = Counter(normalise(item.question) for item in topic.quiz)
    if sum(again.values()) > len(again):
        yield f"{topic.id}: {sum(again.values()) - len(again)} quiz questions are asked twice"
    for item in (item for item in topic.quiz if not item.phrasing):
        told = recall(item, item.reference, voice.never_claims, voice.distinctions)
        if told.accuracy < 1:
            yield (
                f"{item.source}: the reference itself scores {told.accuracy:.2f} "
                f"({'; '.join(told.reasons)})"
            )
    yield from _denied_points(topic)


def _denied_points(topic: Topic) -> Iterator[str]:
    """Key points that the author's own answers hold only negated: right there, wrong in a quiz."""
    taught = [(row.messages[-1].content, row.source) for row in topic.train]
    taught += [(pair.chosen, pair.source) for pair in topic.preferences]
    spoken = [(Spoken.of(answer), source) for answer, source in taught]
    for point in dict.fromkeys(point for item in topic.quiz for point in key_points(item)):
        denied = [str(source) for answer, source in spoken if denies(answer, point)]
        if denied:
            yield (
                f"{topic.id}: the key point `{point[0]}` stands negated in {len(denied)} of the "
                f"author's answers and would not count: {_some(denied)}; where that is right, "
                "give it an alias that holds the negation"
            )


def _shared_questions(curriculum: Curriculum) -> Iterator[str]:
    asked = {topic.id: questions(topic) for topic in curriculum.topics}
    for topic in curriculum.topics:
        for other in curriculum.topics:
            for item in topic.quiz if other is not topic else ():
                source = asked[other.id].get(normalise(item.question))
                if source is not None:
                    yield f"{item.source}: this question is trained on elsewhere, at {source}"


def _held_out(voice: Voice) -> Iterator[str]:
    count = len({normalise(held.prompt) for held in voice.answers})
    if count < FEWEST:
        many = f"{count or 'no'} held-out answer{'' if count == 1 else 's'}"
        yield (
            f"voice/answers: {many}; the calibrated voice takes {FEWEST}, gates will go by the "
            "markers"
        )


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


def _question_field(item: QuizItem) -> str:
    return f"paraphrases[{item.phrasing - 1}]" if item.phrasing else "question"


def _some(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _fault(source: Source, what: str, at: str) -> Fault:
    return Fault(source.file, source.line, what, at)

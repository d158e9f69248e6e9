"""Rows of the forgetting matrices: the same questions, judged by one rule in every row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from mindprint.config import Config, EvalSection
from mindprint.curriculum.records import QuizItem, Source, Topic
from mindprint.evals.answers import collapsed, summarise
from mindprint.evals.exam import Examiner
from mindprint.evals.prompts import RETENTION, retained
from mindprint.evals.sheet import Exam
from mindprint.report.scores import Answer, ChoicePick
from mindprint.retention import Retention

SAME = "k and something"


def item(at: int, cluster: int, choices: tuple[str, ...] = ()) -> QuizItem:
    answer = 0 if choices else None
    points = () if choices else (("k",), ("m",))
    return QuizItem(f"q{at}", f"r{at}", points, (), choices, answer, Source("f", at), cluster)


QUIZ = tuple(item(at, at) for at in range(12))
TOPIC = Topic("u/c/t", "t", "", (), (), QUIZ)
KNOWN = tuple(item(at, at % 2, ("a", "b")) for at in range(4))
ASKED = retained(TOPIC, "sample", 42)


def answer(text: str) -> Answer:
    """Half right: one of two key points."""
    return Answer(text=text, accuracy=0.5, voice=1.0, found=1, points=2)


def picked(at: int) -> Answer:
    pick = ChoicePick(by_sum=0, by_character=at % 2, by_byte=0, answer=0, choices=2)
    return Answer(text=f"x{at}", accuracy=1.0 - at % 2, voice=0.25, pick=pick, flags=("empty",))


def exam(items: Sequence[QuizItem], answers: Sequence[Answer]) -> Exam:
    """As the examiner makes it: struck over all that was asked together."""
    marked = tuple(collapsed(items, answers))
    alone = tuple(answers) if marked != tuple(answers) else ()
    clusters = tuple(one.cluster for one in items)
    return Exam(summarise(items, marked), marked, clusters, alone=alone)


class Asked:
    """Answers every question as `said` has it, and counts how often it was asked."""

    def __init__(self, said: Mapping[str, Answer]) -> None:
        self.said, self.times = said, 0

    def ask_many(self, groups: Mapping[str, Sequence[QuizItem]]) -> dict[str, Exam]:
        self.times += 1
        return {
            name: exam(items, [self.said[one.question] for one in items])
            for name, items in groups.items()
        }

    summarise = staticmethod(summarise)


def retention(said: Mapping[str, Answer], known: tuple[QuizItem, ...] = ()) -> Retention:
    curriculum: Any = SimpleNamespace(retention=known)
    config = Config(eval=EvalSection(retention="sample"))
    return Retention(cast(Examiner, Asked(said)), curriculum, (TOPIC,), config)


@pytest.mark.parametrize("seen", [1, 2, 3])
def test_the_same_answers_score_the_same_in_every_row(tmp_path: Path, seen: int) -> None:
    """Four answers of twelve are alike, `seen` of them among the six asked again: what strikes
    them must not depend on whether the whole quiz was asked or those six."""
    rest = [at for at in range(12) if at not in ASKED]
    alike = {*ASKED[:seen], *rest[: 4 - seen]}
    said = {f"q{at}": answer(SAME if at in alike else f"k only {at}") for at in range(12)}
    kept = retention(said)
    whole = exam(QUIZ, [said[one.question] for one in QUIZ])
    assert whole.score.degenerate == pytest.approx(4 / 12) and whole.alone
    base, before = kept.base({TOPIC.id: whole}), kept.before(TOPIC, whole)
    row = kept.row(TOPIC, "sft", 0, tmp_path, whole)
    assert cast(Asked, kept._examiner).times == 0
    assert base.scores[TOPIC.id] == before.scores[TOPIC.id] == row.scores[TOPIC.id]
    assert base.values == before.values == row.values
    # three of six and more are a collapse in themselves
    assert row.scores[TOPIC.id].degenerate == (3 / 6 if seen == 3 else 0.0)


def test_a_row_tells_its_questions_apart(tmp_path: Path) -> None:
    said = {one.question: answer(f"k only {at}") for at, one in enumerate(QUIZ)}
    said = {**said, **{f"q{at}": picked(at) for at in range(4)}}
    made = retention(said, KNOWN).base(
        {
            TOPIC.id: exam(QUIZ, [answer(f"k only {at}") for at in range(12)]),
            RETENTION: exam(KNOWN, [picked(at) for at in range(4)]),
        }
    )
    assert made.values[TOPIC.id] == tuple((at, 0.5, 1.0, 0.0) for at in range(6))
    # two choices by chance are a half: right 1, wrong -1; phrasings 0 and 2, 1 and 3
    assert made.values[RETENTION] == (
        (0, 1.0, 0.25, 1.0),
        (1, -1.0, 0.25, 1.0),
        (0, 1.0, 0.25, 1.0),
        (1, -1.0, 0.25, 1.0),
    )
    assert (made.after, made.stage) == ("", "base")


def test_a_row_is_asked_once_and_read_back(tmp_path: Path) -> None:
    said = {one.question: answer(f"k only {at}") for at, one in enumerate(QUIZ)}
    said |= {one.question: picked(at) for at, one in enumerate(KNOWN)}
    kept = retention(said, KNOWN)
    whole = exam(QUIZ, [said[one.question] for one in QUIZ])
    first = kept.row(TOPIC, "dpo", 1, tmp_path, whole)
    assert kept.row(TOPIC, "dpo", 1, tmp_path, whole) == first
    assert cast(Asked, kept._examiner).times == 1
    assert (first.after, first.stage, first.attempt) == (TOPIC.id, "dpo", 1)


def test_only_what_no_row_of_that_state_says_is_asked(tmp_path: Path) -> None:
    """After a topic that left the model as it was, all of its last row is known already."""
    said = {one.question: answer(f"k only {at}") for at, one in enumerate(QUIZ)}
    said |= {one.question: picked(at) for at, one in enumerate(KNOWN)}
    kept = retention(said, KNOWN)
    whole = exam(QUIZ, [said[one.question] for one in QUIZ])
    base = kept.base({TOPIC.id: whole, RETENTION: exam(KNOWN, [said[q.question] for q in KNOWN])})
    asked = kept.row(TOPIC, "final", 0, tmp_path / "asked", whole)
    assert cast(Asked, kept._examiner).times == 1
    assert kept.row(TOPIC, "final", 0, tmp_path / "known", whole, base) == asked
    assert cast(Asked, kept._examiner).times == 1
    before = kept.before(TOPIC, whole)  # says nothing of the retention set
    assert kept.row(TOPIC, "final", 0, tmp_path / "part", whole, before) == asked
    assert cast(Asked, kept._examiner).times == 2

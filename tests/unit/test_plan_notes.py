"""What the plan says of a topic's quiz."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mindprint.curriculum.records import QuizItem, Source, Topic
from mindprint.plan import Plan
from mindprint.tokens.lessons import Lesson

ITEM = QuizItem("?", "Oil.", (("oil",),), (), (), None, Source("quiz.jsonl", 1))


def asked(questions: int, phrasings: int) -> Lesson:
    quiz = tuple(
        replace(ITEM, cluster=cluster, phrasing=phrasing)
        for cluster in range(questions)
        for phrasing in range(phrasings)
    )
    return Lesson(Topic("u/c/t", "t", "", (), (), quiz), (), (), (), 0, 0)


@pytest.mark.parametrize(("questions", "few"), [(3, 1), (7, 1), (8, 0)])
def test_phrasings_of_one_question_count_once(questions: int, few: int) -> None:
    plan = Plan((), (asked(questions, 3), asked(12, 1)), (), 0, 0, 0, 0, 0)
    said = "1 have fewer than 8 different quiz questions: their scores are rough" if few else ""
    assert ("topics", "2", said) in plan.lines()

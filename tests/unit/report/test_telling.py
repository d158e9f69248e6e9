"""Which answers come first, and which of their states stand side by side."""

from __future__ import annotations

import itertools
from collections import Counter

from mindprint.report.scores import Answer, Question, StageName
from mindprint.report.telling import Shown, shown_states, telling, worst_first
from tests.unit.report.example import example


def asked(name: str, **worth: tuple[float, float]) -> Question:
    states: dict[str, StageName] = {s: s for s in ("base", "before", "sft", "dpo", "final")}
    answers = {
        states[state]: Answer(text=state, accuracy=accuracy, voice=voice)
        for state, (accuracy, voice) in worth.items()
    }
    return Question(question=name, reference="", answers=answers)


def test_worst_first_then_what_fell_furthest() -> None:
    questions = (
        asked("good", base=(0, 0), sft=(1, 1), final=(1, 1)),
        asked("never right", base=(0, 0), sft=(0, 0.5), final=(0, 0.5)),
        asked("lost", base=(0, 0), sft=(1, 1), dpo=(0, 0.5), final=(0, 0.5)),
        asked("worst", base=(0, 0), final=(0, 0)),
        asked("unanswered"),
    )
    topic = example().topics[0].model_copy(update={"questions": questions})
    order = [shown.question.question for shown in worst_first(topic)]
    assert order == ["worst", "lost", "never right", "good", "unanswered"]


def test_at_most_ten_at_most_three_of_a_topic() -> None:
    found = telling(example())
    assert len(found) == 10
    assert max(Counter(shown.topic.id for shown in found).values()) == 3
    assert found[0].topic.title == "Boats & wrecks <1880–1911>"
    assert all(a.rank <= b.rank for a, b in itertools.pairwise(found))


def test_a_question_that_was_never_answered_is_not_telling() -> None:
    topic = example().topics[0].model_copy(update={"questions": (asked("unanswered"),)})
    assert telling(example().model_copy(update={"topics": (topic,)})) == []
    assert Shown(topic, topic.questions[0]).worth == 2.0


def test_answers_are_shown_before_after_sft_and_after_dpo() -> None:
    result = example()
    assert shown_states(result.topics[0].questions[0]) == ("base", "sft")
    assert shown_states(result.topics[1].questions[0]) == ("base", "sft", "dpo")
    # An undone DPO is shown; the final answer is that after SFT again.
    assert shown_states(result.topics[3].questions[0]) == ("base", "sft", "dpo")


def test_a_final_answer_that_no_stage_gave_is_shown_too() -> None:
    rolled_back = asked("q", base=(0, 0), before=(0.5, 0), sft=(0.2, 0), final=(0.5, 0))
    assert shown_states(rolled_back) == ("base", "sft", "final")
    assert shown_states(asked("q", base=(0, 0), before=(0, 0))) == ("base", "before")

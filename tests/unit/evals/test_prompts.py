"""What is asked besides a quiz: the same questions every time, and never what was held back."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mindprint.curriculum.records import (
    HeldOutAnswer,
    Marker,
    Message,
    QuizItem,
    Source,
    TrainRow,
    Voice,
)
from mindprint.evals.prompts import (
    FEWEST,
    RETENTION,
    SAMPLE,
    examples,
    open_prompts,
    retained,
    retained_groups,
    topic_terms,
    with_examples,
)
from tests.runs import HERE, curriculum, topic


def held(count: int) -> tuple[HeldOutAnswer, ...]:
    return tuple(
        HeldOutAnswer(f"Tell of evening {place}.", f"Evening {place}.", Source("a", place + 1))
        for place in range(count)
    )


def item(place: int, cluster: int) -> QuizItem:
    return QuizItem(f"Question {place}?", "Grey.", (("grey",),), (), (), None, HERE, cluster)


def test_fewer_open_prompts_than_calibrate_are_not_asked() -> None:
    author = replace(curriculum(), voice=Voice(answers=held(FEWEST - 1)))
    assert open_prompts(author, 60) == ()


def test_a_prompt_that_stands_twice_is_asked_once() -> None:
    answers = held(FEWEST)
    again = replace(answers[0], prompt="tell of EVENING 0", answer="Another.")
    author = replace(curriculum(), voice=Voice(answers=(*answers, again)))
    assert open_prompts(author, 60) == answers


def test_at_most_as_many_as_wanted_spread_over_all() -> None:
    author = replace(curriculum(), voice=Voice(answers=held(100)))
    chosen = open_prompts(author, 50)
    assert [one.prompt for one in chosen] == [f"Tell of evening {2 * n}." for n in range(50)]


def test_examples_are_rows_with_the_most_marks() -> None:
    author = curriculum(2, 4)
    marked = TrainRow((Message("user", "Lamp?"), Message("assistant", "Grey, by the tide!")), HERE)
    first = replace(author.topics[0], train=(*author.topics[0].train, marked))
    author = replace(author, topics=(first, author.topics[1]))
    assert examples(author, 4) == marked.messages
    assert examples(author, 0) == ()


def test_without_markers_examples_come_from_the_whole_curriculum() -> None:
    author = replace(curriculum(4, 6), voice=Voice())
    shown = examples(author, 4)
    assert [one.role for one in shown] == ["user", "assistant"] * 4
    assert [one.content for one in shown[1::2]] == [f"Lamp 3 is grey {n}." for n in range(4)]


def test_a_row_of_several_turns_is_no_example() -> None:
    author = replace(curriculum(1, 1), voice=Voice(markers=(Marker("all", ("grey",), (0, 9)),)))
    long = TrainRow((*author.topics[0].train[0].messages,) * 2, HERE)
    author = replace(author, topics=(replace(author.topics[0], train=(long,)),))
    assert examples(author, 3) == ()


def test_examples_stand_between_the_system_prompt_and_the_question() -> None:
    shown = (Message("user", "a"), Message("assistant", "b"))
    assert with_examples("S", shown, "c") == (
        Message("system", "S"),
        *shown,
        Message("user", "c"),
    )
    assert with_examples("", shown, "c") == (*shown, Message("user", "c"))


def test_the_sample_never_changes_and_differs_between_seeds() -> None:
    wide = replace(topic(0), quiz=tuple(item(n, n) for n in range(40)))
    drawn = retained(wide, "sample", 42)
    assert drawn == retained(wide, "sample", 42) == tuple(sorted(set(drawn)))
    assert len(drawn) == SAMPLE
    assert len({retained(wide, "sample", seed) for seed in range(8)}) > 1


def test_the_sample_holds_different_questions_before_further_phrasings() -> None:
    """Ten phrasings of one question and five others: all six questions are in it."""
    quiz = (*(item(n, 0) for n in range(10)), *(item(10 + n, 1 + n) for n in range(5)))
    for seed in range(10):
        drawn = retained(replace(topic(0), quiz=quiz), "sample", seed)
        assert {quiz[place].cluster for place in drawn} == set(range(6))


@pytest.mark.parametrize(("mode", "count"), [("full", 40), ("off", 0)])
def test_all_or_nothing(mode: str, count: int) -> None:
    wide = replace(topic(0), quiz=tuple(item(n, n) for n in range(40)))
    assert retained(wide, mode, 42) == tuple(range(count))


def test_groups_hold_the_retention_set_unless_off() -> None:
    author = replace(curriculum(2), retention=(item(0, 0),))
    groups = retained_groups(author, author.topics[:1], "sample", 42)
    assert list(groups) == [author.topics[0].id, RETENTION]
    assert retained_groups(author, author.topics, "off", 42) == {}


def test_terms_are_what_the_quiz_asks_for() -> None:
    terms = topic_terms(curriculum(2).topics)
    assert set(terms) == {"grey 0", "grey 1", "grey", "red", "blue"}

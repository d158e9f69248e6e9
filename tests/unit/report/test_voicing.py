"""The voice scale as tables, and its course over the run."""

from __future__ import annotations

import pytest

from mindprint.report.markdown import document
from mindprint.report.voicing import (
    against_examples,
    course,
    course_table,
    family_table,
    placed,
    some_answers,
    unmeasured,
    word_table,
)
from tests.unit.report.example import begun, example, without_voice
from tests.unit.report.example_voice import WORDS, reading, unmeasurable, voice_record


def test_the_course_begins_at_the_base_and_names_what_was_undone() -> None:
    points = course(example())
    assert [point.place for point in points] == [0, 1, 2, 2, 3, 4, 4, 5, 6]
    undone = [point.label for point in points if point.undone]
    assert undone == ["4 Tides of the sound, after DPO, undone"]
    stood = [point.place for point in points if point.stands]
    assert stood == [0, 1, 2, 3, 4, 5, 6]  # one a topic: the state in which it was left


def test_a_final_state_that_no_stage_left_is_a_point_of_its_own() -> None:
    result = example()
    one = result.topics[0]
    kept = {**one.readings, "final": reading(0.2)}
    topics = (one.model_copy(update={"readings": kept}), *result.topics[1:])
    labels = [point.label for point in course(result.model_copy(update={"topics": topics}))]
    assert labels[:3] == [
        "base",
        "1 The lamp and its oil, after SFT",
        "1 The lamp and its oil, final",
    ]


def test_a_moment_that_cannot_be_placed_is_left_out() -> None:
    result = example()
    one = result.topics[0]
    short = reading(0.4).model_copy(update={"measurable": False, "because": "too few words"})
    topics = (one.model_copy(update={"readings": {"sft": short, "final": short}}),)
    assert course(result.model_copy(update={"topics": topics})) == []
    assert course(begun()) == [] and course_table(begun()).rows == ()


def test_a_family_that_is_not_measurable_has_no_value_and_a_reason() -> None:
    rows = {line[0]: line[1:] for line in family_table(reading(0.8)).rows}
    assert rows["lengths"][:2] == ("–", "–") and rows["lengths"][-1].startswith("not measurable")
    assert rows["markers"][0] == "1.04"  # beyond the author, unclipped
    assert rows["all together"][:2] == ("0.80", "0.73–0.87")


def test_words_go_from_the_most_overused_to_the_most_underused() -> None:
    shown = [line[0] for line in word_table(tuple(reversed(WORDS))).rows]
    assert shown == [use.word for use in sorted(WORDS, key=lambda use: -use.z)]


def test_open_answers_are_taken_evenly() -> None:
    record = voice_record(reading(0.8))
    assert some_answers(record, 2) == [record.answers[0], record.answers[2]]
    assert some_answers(record, 9) == list(record.answers)


@pytest.mark.parametrize(
    ("record", "said"),
    [(None, "This run has no voice scale"), (unmeasurable(), "could not be calibrated: 12 held")],
)
def test_why_there_is_no_scale(record: object, said: str) -> None:
    assert said in unmeasured(without_voice(record))  # type: ignore[arg-type]
    assert unmeasured(example()) == ""


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (0.80, "Training beats examples in the prompt alone: 0.80 (0.73–0.87) against 0.22"),
        (0.30, "cannot be told apart by voice: 0.30 (0.23–0.37) against 0.22 (0.11–0.33)"),
        (0.02, "Training does not reach what examples in the prompt alone do: 0.02 (0.00–0.09)"),
    ],
)
def test_whether_training_beat_the_examples_is_said(value: float, said: str) -> None:
    assert said in against_examples(voice_record(reading(value)))


def test_without_examples_or_a_place_nothing_is_said_of_them() -> None:
    record = voice_record(reading(0.8))
    assert against_examples(record.model_copy(update={"controls": ()})) == ""
    lost = reading(0.8).model_copy(update={"measurable": False, "because": "too few words"})
    assert against_examples(voice_record(lost)) == ""
    assert against_examples(record) in document(without_voice(record))
    result = example()
    assert result.voice is not None and placed(result) == result.voice.final
    assert placed(without_voice(unmeasurable())) is None and placed(begun()) is None

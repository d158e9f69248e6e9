"""What a run changed, and which changes hold over all topics."""

from __future__ import annotations

import pytest

from mindprint.evals.changes import changes, clear, overall
from mindprint.evals.sheet import Exam
from mindprint.evals.stats import paired
from mindprint.report.model import TopicRecord
from mindprint.report.scores import Answer, ChoicePick, Difference, Figure, Question, Score


def exam(accuracies: list[float], voices: list[float], clusters: tuple[int, ...] = ()) -> Exam:
    pairs = zip(accuracies, voices, strict=True)
    answers = tuple(Answer(text="x", accuracy=a, voice=v) for a, v in pairs)
    score = Score(
        accuracy=sum(accuracies) / len(answers), voice=0.5, degenerate=0.0, questions=len(answers)
    )
    return Exam(score, answers, clusters)


def moved(p: float, low: float = 0.1, high: float = 0.5) -> Difference:
    return Difference(value=(low + high) / 2, low=low, high=high, p=p, clusters=13, unseen=0.2)


def test_changes_are_paired_by_question() -> None:
    clusters = (0, 0, 1, 2, 3, 4, 5, 6)
    base = exam([0.0] * 8, [0.5] * 8, clusters)
    final = exam([1.0] * 6 + [0.0] * 2, [0.5] * 4 + [0.2] * 4, clusters)
    made = changes(base, final, None, seed=4, resamples=500)
    assert list(made) == ["accuracy", "markers"]
    told = [1.0] * 6 + [0.0] * 2
    assert made["accuracy"] == paired([0.0] * 8, told, clusters, seed=4, resamples=500)
    spoken = [0.5] * 4 + [0.2] * 4
    assert made["markers"] == paired([0.5] * 8, spoken, clusters, seed=4, resamples=500)
    assert made["markers"].clusters == 7


def test_the_calibrated_voice_is_taken_as_it_was_measured() -> None:
    voice = moved(0.001)
    both = exam([1.0] * 6, [0.5] * 6)
    made = changes(both, both, voice)
    assert list(made) == ["accuracy", "voice", "markers"]
    assert made["voice"] is voice


def test_what_is_clear_holds_over_all_topics() -> None:
    """0.02 alone is below 0.05; as the smallest of three it is 0.06."""
    topics: list[dict[Figure, Difference]] = [{"accuracy": moved(0.02)}]
    assert clear(topics) == [("accuracy",)]
    topics += [{"accuracy": moved(0.3)}, {"accuracy": moved(0.4)}]
    assert clear(topics) == [(), (), ()]
    topics[2] = {"accuracy": moved(0.001)}
    assert clear(topics) == [("accuracy",), (), ("accuracy",)]


def test_each_figure_is_corrected_over_the_topics_that_have_it() -> None:
    topics: list[dict[Figure, Difference]] = [
        {"accuracy": moved(0.001), "voice": moved(0.04), "markers": moved(0.9)},
        {"accuracy": moved(0.002, -0.5, -0.1), "markers": moved(0.04)},
    ]
    assert clear(topics) == [("accuracy", "voice"), ("accuracy",)]


def test_a_change_whose_interval_holds_0_is_never_clear() -> None:
    assert clear([{"accuracy": moved(0.001, -0.1, 0.5)}]) == [()]
    assert clear([]) == []
    assert clear([{}]) == [()]


def test_seven_topics_learned_whole_are_all_clear() -> None:
    learned = changes(exam([0.0] * 8, [0.5] * 8), exam([1.0] * 8, [0.5] * 8), None)
    assert clear([learned] * 7) == [("accuracy",)] * 7


def picked(right: bool, voice: float = 0.5) -> Answer:
    pick = ChoicePick(by_sum=0, by_character=0 if right else 1, by_byte=0, answer=0, choices=4)
    return Answer(text="x", accuracy=float(right), voice=voice, pick=pick)


def said(accuracy: float) -> Answer:
    return Answer(text="x", accuracy=accuracy, voice=accuracy / 2)


def topic(name: str, base: list[Answer], final: list[Answer]) -> TopicRecord:
    questions = tuple(
        Question(question=str(at), reference="r", cluster=at, answers={"base": a, "final": b})
        for at, (a, b) in enumerate(zip(base, final, strict=True))
    )
    return TopicRecord(id=name, title=name, status="passed", questions=questions)


def test_overall_is_the_difference_of_the_means_over_topics() -> None:
    """0 -> 1 over four questions and 0 -> 0.05 over forty: shown as 0.00 -> 0.525."""
    few = topic("few", [said(0)] * 4, [said(1)] * 4)
    many = topic("many", [said(0)] * 40, [said(0)] * 38 + [said(1)] * 2)
    made = overall([few, many], resamples=500)
    assert made["accuracy"].value == pytest.approx((1 + 0.05) / 2)
    assert made["markers"].value == pytest.approx((1 + 0.05) / 4)
    for change in made.values():
        assert -1 <= change.low <= change.value <= change.high <= 1
        assert change.clusters == 44


def test_overall_counts_choices_below_chance_as_0() -> None:
    """All choices wrong, then all right: 0 -> 1, not the 4/3 that guessing is worth."""
    learned = topic("a", [picked(False)] * 12, [picked(True)] * 12)
    lost = topic("b", [picked(True)] * 3 + [picked(False)] * 9, [picked(False)] * 12)
    assert overall([learned])["accuracy"].value == 1.0
    assert overall([learned])["accuracy"].high == 1.0
    both = overall([learned, lost])["accuracy"]
    # 3 of 12 right is chance, an accuracy of 0 before and after
    assert both.value == pytest.approx(0.5) and both.high <= 1.0


def test_overall_says_nothing_of_topics_that_are_not_finished() -> None:
    open_ = TopicRecord(id="c", title="c", status="running")
    assert overall([open_]) == {} == overall([])
    done = topic("a", [said(0)] * 6, [said(1)] * 6)
    assert overall([done, open_]) == overall([done])

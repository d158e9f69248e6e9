"""What a run changed, and which changes hold over all topics."""

from __future__ import annotations

from mindprint.evals.changes import changes, clear
from mindprint.evals.stats import paired
from mindprint.gate import Exam
from mindprint.report.scores import Answer, Difference, Figure, Score


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
    drawn = {"seed": 4, "resamples": 500}
    assert list(made) == ["accuracy", "markers"]
    told = [1.0] * 6 + [0.0] * 2
    assert made["accuracy"] == paired([0.0] * 8, told, clusters, **drawn)
    spoken = [0.5] * 4 + [0.2] * 4
    assert made["markers"] == paired([0.5] * 8, spoken, clusters, **drawn)
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

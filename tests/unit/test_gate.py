"""Verdicts from known scores."""

from __future__ import annotations

import pytest

from mindprint.config import DpoSection, GateSection
from mindprint.gate import (
    Exam,
    judge_dpo,
    judge_sft,
    judge_topic,
    passes,
    rank,
    wants_dpo,
)
from mindprint.report.model import Answer, Score

GATE = GateSection()


def score(accuracy: float, voice: float, degenerate: float = 0.0, questions: int = 12) -> Score:
    return Score(accuracy=accuracy, voice=voice, degenerate=degenerate, questions=questions)


def exam(accuracies: list[float], voices: list[float], degenerate: float = 0.0) -> Exam:
    n = len(accuracies)
    answers = tuple(
        Answer(text="x", accuracy=a, voice=v) for a, v in zip(accuracies, voices, strict=True)
    )
    return Exam(score(sum(accuracies) / n, sum(voices) / n, degenerate, n), answers)


@pytest.mark.parametrize(
    ("accuracy", "voice", "wanted"),
    [(0.70, 0.74, True), (0.69, 0.10, False), (0.90, 0.75, False), (1.0, 0.0, True)],
)
def test_dpo_runs_where_accuracy_passes_and_voice_does_not(
    accuracy: float, voice: float, wanted: bool
) -> None:
    assert wants_dpo(score(accuracy, voice), GATE, DpoSection())[0] is wanted


def test_dpo_always_and_never() -> None:
    assert wants_dpo(score(0, 0), GATE, DpoSection(when="always"))[0]
    assert not wants_dpo(score(1, 0), GATE, DpoSection(when="never"))[0]


def test_a_collapse_of_accuracy_is_harm() -> None:
    """The history of S1: 0.77 -> 0.02 after DPO, and nobody knew why for weeks."""
    before, after = exam([1.0] * 9 + [0.0] * 3, [0.3] * 12), exam([0.0] * 12, [0.9] * 12)
    verdict = judge_dpo(before, after)
    assert not verdict.keep
    assert "accuracy fell beyond noise" in verdict.sentence
    assert "0.75 -> 0.00" in verdict.sentence


def test_one_answer_worse_of_twelve_is_noise() -> None:
    before, after = exam([1.0] * 12, [0.3] * 12), exam([1.0] * 11 + [0.0], [0.9] * 12)
    assert judge_dpo(before, after).keep


def test_dpo_without_a_rise_of_voice_is_undone() -> None:
    before, after = exam([1.0] * 12, [0.5] * 12), exam([1.0] * 12, [0.5] * 12)
    assert "voice did not rise" in judge_dpo(before, after).sentence


def test_degenerate_answers_are_harm_from_two_on() -> None:
    before = exam([0.0] * 12, [0.0] * 12)
    assert not judge_sft(before, exam([0.5] * 12, [0.5] * 12, degenerate=2 / 12)).keep
    assert judge_sft(before, exam([0.5] * 12, [0.5] * 12, degenerate=1 / 12)).keep


def test_sft_may_lower_voice_when_it_teaches_facts() -> None:
    voiced, taught = exam([0.1] * 12, [0.9] * 12), exam([0.9] * 12, [0.1] * 12)
    assert judge_sft(voiced, taught).keep
    assert not judge_sft(voiced, exam([0.1] * 12, [0.1] * 12)).keep


def test_a_failed_topic_stays_only_if_both_are_better() -> None:
    assert passes(score(0.70, 0.75), GATE)
    assert judge_topic(score(0, 0), score(0.9, 0.9), GATE).keep
    kept = judge_topic(score(0.1, 0.1), score(0.6, 0.2), GATE)
    assert kept.keep and kept.sentence.startswith("failed: accuracy 0.60 is below 0.70")
    assert not judge_topic(score(0.1, 0.3), score(0.6, 0.3), GATE).keep


def test_the_attempt_nearest_to_the_mark_ranks_first() -> None:
    attempts = [score(0.2, 0.9), score(0.65, 0.72), score(0.9, 0.4)]
    before = score(0, 0)
    assert max(attempts, key=lambda s: rank(before, s, GATE)) is attempts[1]


def test_an_attempt_that_may_stay_ranks_before_a_nearer_one_that_may_not() -> None:
    before = score(0.1, 0.4)
    attempts = [score(0.6, 0.4), score(0.3, 0.45)]
    assert max(attempts, key=lambda s: rank(before, s, GATE)) is attempts[1]

"""Verdicts from known answers: what stays, and the sentence that says why."""

from __future__ import annotations

import re

import numpy as np
import pytest

from mindprint.config import DpoSection, GateSection
from mindprint.evals.changes import accuracy_change
from mindprint.evals.degeneracy import ENDED
from mindprint.evals.sheet import Exam
from mindprint.gate import (
    BY_MARKERS,
    judge_dpo,
    judge_failed,
    judge_failed_topic,
    judge_sft,
    judge_topic,
    passes,
    rank,
    wants_dpo,
)
from mindprint.report.model import StageRecord
from mindprint.report.scores import Answer, ChoicePick, Difference, Score

GATE = GateSection()
ALL, NONE, HALF = [1.0] * 12, [0.0] * 12, [0.5] * 12


def score(accuracy: float, voice: float, questions: int = 12) -> Score:
    return Score(accuracy=accuracy, voice=voice, degenerate=0.0, questions=questions)


def exam(
    accuracies: list[float],
    voices: list[float],
    *,
    voice: float | None = None,
    first_stop: float | None = None,
    flags: tuple[str, ...] = (),
    clusters: tuple[int, ...] = (),
) -> Exam:
    """`voice`: the calibrated one; without it the score goes by the markers in `voices`."""
    n = len(accuracies)
    answers = tuple(
        Answer(text="x", accuracy=a, voice=v, flags=flags)
        for a, v in zip(accuracies, voices, strict=True)
    )
    made = Score(
        accuracy=sum(accuracies) / n,
        voice=sum(voices) / n if voice is None else voice,
        voice_by="markers" if voice is None else "calibrated",
        degenerate=1.0 if flags else 0.0,
        questions=n,
        first_stop=first_stop,
    )
    return Exam(made, answers, clusters)


def chosen(right: list[bool], accuracy: float, clusters: tuple[int, ...] = ()) -> Exam:
    answers = tuple(
        Answer(
            text="x",
            accuracy=float(one),
            voice=0.5,
            pick=ChoicePick(by_sum=0, by_character=0 if one else 1, by_byte=0, answer=0, choices=4),
        )
        for one in right
    )
    return Exam(score(accuracy, 0.5, len(right)), answers, clusters)


def moved(value: float, low: float, high: float) -> Difference:
    return Difference(value=value, low=low, high=high, p=0.5, clusters=40, unseen=0.1)


def stage(margins: list[float], stopped: str = "") -> StageRecord:
    return StageRecord(
        name="dpo",
        attempt=0,
        steps=len(margins),
        epochs=1,
        rows=8,
        rows_cut=0,
        tokens=100,
        seconds=1.0,
        tokens_per_second=100.0,
        loss_first=0.69,
        loss_last=0.5,
        stopped=stopped,
        margins=tuple(enumerate(margins, 1)),
    )


UP = moved(0.82, 0.73, 0.92)
"""The voice rose beyond noise."""


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


def test_a_rise_is_told_with_its_intervals() -> None:
    before = exam([1.0] * 2 + [0.0] * 11, [0.0] * 13, voice=0.0)
    after = exam([1.0] * 12 + [0.0], [0.5] * 13, voice=0.82)
    verdict = judge_sft(before, after, UP)
    assert verdict.keep
    # ten of 13 answers turned right: 7 of a resample's 13, or all with (10/13)**13 = 0.033
    assert verdict.sentence == (
        "accuracy 0.15 -> 0.92 (+0.77, 95 % interval +0.54 to +1.00, 13 questions), "
        "voice 0.00 -> 0.82 (+0.82, +0.73 to +0.92)"
    )


def test_a_change_that_may_be_none_is_noise_in_every_verdict() -> None:
    before = exam([1.0] * 6 + [0.0] * 6, HALF, voice=0.5)
    after = exam([0.0] + [1.0] * 7 + [0.0] * 4, HALF, voice=0.55)
    small = moved(0.05, -0.02, 0.12)
    for verdict in (judge_sft(before, after, small), judge_dpo(before, after, None, small)):
        assert verdict.keep
        assert "accuracy 0.50 -> 0.58 (+0.08, within noise: 95 % interval -0." in verdict.sentence
        assert "voice 0.50 -> 0.55 (+0.05, within noise: -0.02 to +0.12)" in verdict.sentence


def test_an_end_that_only_reads_as_0_is_given_another_digit() -> None:
    both = exam(ALL, HALF, voice=0.5)
    told = judge_sft(both, both, moved(0.1, 0.004, 0.2)).sentence
    assert "(+0.10, +0.004 to +0.20)" in told
    assert "-0.00" not in judge_sft(both, both, moved(-0.0001, -0.0002, 0.2)).sentence


def test_phrasings_are_not_counted_as_questions() -> None:
    clusters = tuple(i // 3 for i in range(12))
    both = exam(ALL, HALF, clusters=clusters)
    assert "4 questions in 12 phrasings" in judge_sft(both, both).sentence


def test_without_a_calibrated_voice_the_markers_are_compared_aloud() -> None:
    verdict = judge_dpo(exam(ALL, [0.3] * 12), exam(ALL, [0.9] * 12))
    assert verdict.keep
    assert "voice 0.30 -> 0.90 (+0.60, +" in verdict.sentence
    assert f"{BY_MARKERS})" in verdict.sentence
    assert BY_MARKERS not in judge_dpo(exam(ALL, HALF), exam(ALL, HALF), None, UP).sentence


def test_two_scales_are_not_put_side_by_side() -> None:
    """A reading that failed leaves its exam on the markers: only the difference is told."""
    verdict = judge_dpo(exam(ALL, HALF, voice=0.4), exam(ALL, HALF), None, UP)
    assert ", voice (+0.82, +0.73 to +0.92)" in verdict.sentence


def test_a_collapse_of_accuracy_is_harm() -> None:
    """The history of S1: 0.77 -> 0.02 after DPO, and nobody knew why for weeks."""
    before, after = exam([1.0] * 9 + [0.0] * 3, [0.3] * 12), exam(NONE, [0.9] * 12)
    verdict = judge_dpo(before, after)
    assert not verdict.keep
    assert verdict.sentence.startswith("accuracy fell beyond noise; accuracy 0.75 -> 0.00 (-0.75, ")
    assert "unseen" not in verdict.sentence
    assert not judge_sft(before, after).keep


@pytest.mark.parametrize("worse", [1, 2, 3])
def test_few_answers_worse_of_twelve_are_noise(worse: int) -> None:
    """Without the three a resample draws none of them with (9/12)**12 = 0.03, more than 0.025."""
    before, after = exam(ALL, [0.3] * 12), exam([1.0] * (12 - worse) + [0.0] * worse, [0.9] * 12)
    assert judge_dpo(before, after).keep


def test_few_questions_say_what_they_cannot_see() -> None:
    before, after = exam([1.0] * 13, [0.3] * 13), exam([1.0] * 13, [0.9] * 13)
    told = judge_dpo(before, after).sentence
    # 4 of 13 lost are a fall beyond noise, and P(Binomial(13, 0.38) >= 4) = 0.8
    fall = "a fall of accuracy of up to 0.38 could have gone unseen with 13 questions"
    assert told.endswith(f"; {fall}")
    many = judge_dpo(exam([1.0] * 30, [0.3] * 30), exam([1.0] * 30, [0.9] * 30)).sentence
    assert "unseen" not in many


def test_a_fall_that_cannot_have_been_is_not_warned_of() -> None:
    poor = judge_dpo(exam([1.0] + [0.0] * 11, NONE), exam([1.0] + [0.0] * 11, HALF)).sentence
    assert "a fall of accuracy of up to 0.08 could" in poor  # there was no more to lose
    assert "unseen" not in judge_dpo(exam(NONE, NONE), exam(NONE, HALF)).sentence
    assert "unseen" not in judge_dpo(exam(NONE, NONE), exam(ALL, HALF)).sentence


def test_one_of_four_answers_worse_is_too_little_to_call() -> None:
    before, after = exam([1.0] * 4, [0.3] * 4), exam([1.0] * 3 + [0.0], [0.9] * 4)
    verdict = judge_dpo(before, after)
    assert verdict.keep
    assert "(-0.25, within noise: " in verdict.sentence
    # 2 of 4 lost are a half, which is undone, and P(Binomial(4, 0.58) >= 2) = 0.8
    assert "a fall of accuracy of up to 0.58 could have gone unseen with 4 questions" in (
        verdict.sentence
    )


def test_a_ruin_on_a_few_questions_is_not_put_down_to_noise() -> None:
    before, after = exam([1.0] * 4, [0.3] * 4), exam([0.0] * 4, [0.9] * 4)
    for verdict in (judge_dpo(before, after), judge_sft(before, after)):
        assert not verdict.keep
        assert "fell by half or more, on too few questions to rule out noise" in verdict.sentence


def test_choices_are_counted_by_how_they_turned() -> None:
    before = chosen([True] * 4 + [False] * 8, accuracy=0.11)
    after = chosen([False] + [True] * 10 + [False], accuracy=0.78)
    told = judge_sft(before, after).sentence
    # 7 of 8 turned right: p = 2 (1 + 8) / 2**8
    assert "accuracy 0.11 -> 0.78 (+0.67, 95 % interval" in told
    split = "; of 12 questions with choices 7 turned right and 1 turned wrong"
    assert f"{split}, McNemar's exact test p = 0.070)" in told
    sure = judge_sft(chosen([False] * 12, 0.0), chosen([True] * 12, 1.0)).sentence
    assert "McNemar's exact test p < 0.001" in sure


@pytest.mark.parametrize(
    ("voice", "kept", "why"),
    [
        (UP, True, "+0.73 to +0.92"),
        (moved(0.05, -0.02, 0.12), True, "; voice is higher, but not beyond noise"),
        (moved(0.0, -0.1, 0.1), False, "voice did not rise; accuracy"),
        (moved(-0.05, -0.1, 0.02), False, "voice did not rise; accuracy"),
        (moved(-0.2, -0.3, -0.1), False, "voice fell beyond noise; accuracy"),
    ],
)
def test_dpo_stays_where_voice_rose(voice: Difference, kept: bool, why: str) -> None:
    verdict = judge_dpo(exam(ALL, HALF, voice=0.4), exam(ALL, HALF, voice=0.5), None, voice)
    assert verdict.keep is kept
    assert why in verdict.sentence
    assert ("not beyond noise" in verdict.sentence) is (why.startswith("; voice is"))


def test_a_voice_with_no_room_to_rise_may_stay_where_it_is() -> None:
    still, down = moved(0.0, -0.1, 0.1), moved(-0.3, -0.4, -0.2)
    whole = exam(ALL, HALF, voice=1.0)
    assert judge_dpo(whole, exam(ALL, HALF, voice=0.98), None, still).keep
    assert not judge_dpo(whole, exam(ALL, HALF, voice=0.7), None, down).keep
    assert judge_dpo(exam(ALL, ALL), exam(ALL, ALL)).keep
    assert not judge_dpo(exam(ALL, ALL), exam(ALL, NONE)).keep


def test_dpo_without_a_rise_of_the_markers_is_undone() -> None:
    before, after = exam(ALL, HALF), exam(ALL, HALF)
    assert judge_dpo(before, after).sentence.startswith("voice did not rise; ")


def test_a_flood_of_endings_is_harm() -> None:
    before = exam(HALF, HALF, first_stop=0.002)
    after = exam(NONE, NONE, flags=(ENDED,), first_stop=0.97)
    for verdict in (judge_sft(before, after), judge_dpo(before, after)):
        assert not verdict.keep
        assert verdict.sentence.startswith("12 of 12 answers")
        told = "mean chance that an answer ends before its first word 0.002 -> 0.970"
        assert told in verdict.sentence


@pytest.mark.parametrize(
    ("earlier", "later", "told"),
    [(0.002, 0.009, False), (0.02, 0.04, False), (0.02, 0.05, True), (None, 0.9, False)],
)
def test_the_chance_of_ending_at_once_is_told_where_it_rose_a_lot(
    earlier: float | None, later: float, told: bool
) -> None:
    verdict = judge_sft(exam(HALF, HALF, first_stop=earlier), exam(HALF, HALF, first_stop=later))
    assert verdict.keep  # it is told, and does not decide
    assert ("ends before its first word" in verdict.sentence) is told


@pytest.mark.parametrize("sign", [1, -1])
def test_a_margin_that_went_the_wrong_way_is_harm(sign: int) -> None:
    margins = stage([0.0] + [sign * 0.1 * step for step in range(1, 9)])
    verdict = judge_dpo(exam(ALL, HALF, voice=0.1), exam(ALL, HALF, voice=0.9), margins, UP)
    assert verdict.keep is (sign > 0)
    # the last two of eight: 0.7 and 0.8
    said = "the margin went to -0.750: the stage trained towards the rejected answers; accuracy"
    assert verdict.sentence.startswith(said) is (sign < 0)


def test_a_stage_that_ended_early_says_so() -> None:
    early = stage([0.0, 0.1, 0.2, 0.3], stopped="the loss is not finite")
    verdict = judge_dpo(exam(ALL, HALF), exam(ALL, ALL), early)
    assert verdict.keep and verdict.sentence.endswith("; ended early: the loss is not finite")
    downhill = stage([0.0, -0.1], stopped="the margin fell")
    assert not judge_dpo(exam(ALL, HALF), exam(ALL, ALL), downhill).keep


def test_sft_may_lower_voice_when_it_teaches_facts() -> None:
    voiced, taught = exam([0.1] * 12, [0.9] * 12), exam([0.9] * 12, [0.1] * 12)
    assert judge_sft(voiced, taught).keep
    verdict = judge_sft(voiced, exam([0.1] * 12, [0.1] * 12))
    assert not verdict.keep
    assert verdict.sentence.startswith("voice fell beyond noise and accuracy did not rise; ")
    calm = moved(-0.1, -0.3, 0.1)
    assert judge_sft(voiced, exam([0.1] * 12, [0.1] * 12), calm).keep


def test_exams_of_other_questions_are_not_compared() -> None:
    with pytest.raises(ValueError, match="12 values cannot be paired with 11"):
        judge_sft(exam(ALL, ALL), exam(ALL[1:], ALL[1:]))


def test_a_verdict_is_the_same_every_time() -> None:
    rng = np.random.default_rng(3)
    before = exam(rng.uniform(size=13).tolist(), rng.uniform(size=13).tolist())
    after = exam(rng.uniform(size=13).tolist(), rng.uniform(size=13).tolist())
    assert judge_dpo(before, after, seed=7) == judge_dpo(before, after, seed=7)


def test_perfect_authors_are_seldom_undone() -> None:
    """200 pairs of stages of an author who knows 95 % of the answers and speaks as ever: by chance
    alone fewer than 5 % may be called a fall of accuracy or voice."""
    rng = np.random.default_rng(11)
    undone = 0
    for number in range(200):
        before, after = (
            exam(
                (rng.uniform(size=13) < 0.95).astype(float).tolist(),
                rng.normal(0.85, 0.1, 13).clip(0, 1).tolist(),
            )
            for _ in range(2)
        )
        undone += not judge_sft(before, after, seed=number, resamples=400).keep
    assert undone < 10


def test_a_failed_topic_stays_only_if_both_are_better() -> None:
    assert passes(score(0.70, 0.75), GATE)
    assert judge_topic(score(0, 0), score(0.9, 0.9), GATE).keep
    kept = judge_topic(score(0.1, 0.1), score(0.6, 0.2), GATE)
    assert kept.keep and kept.sentence.startswith("failed: accuracy 0.60 is below 0.70")
    undone = judge_topic(score(0.1, 0.3), score(0.6, 0.3), GATE)
    assert not undone.keep and "rolled back" in undone.sentence
    never = GateSection(rollback=False)
    assert judge_topic(score(0.1, 0.3), score(0.6, 0.3), never).keep


def test_the_attempt_nearest_to_the_mark_ranks_first() -> None:
    attempts = [score(0.2, 0.9), score(0.65, 0.72), score(0.9, 0.4)]
    before = score(0, 0)
    assert max(attempts, key=lambda s: rank(before, s, GATE)) is attempts[1]


def test_an_attempt_that_may_stay_ranks_before_a_nearer_one_that_may_not() -> None:
    before = score(0.1, 0.4)
    attempts = [score(0.6, 0.4), score(0.3, 0.45)]
    assert max(attempts, key=lambda s: rank(before, s, GATE)) is attempts[1]


def test_an_interval_corrected_for_guessing_stays_within_what_can_be() -> None:
    """All choices wrong, then all right: corrected for guessing that is more than +1."""
    told = judge_sft(chosen([False] * 12, 0.0), chosen([True] * 12, 1.0)).sentence
    low, high = map(float, re.search(r"interval (\S+) to (\S+),", told).groups())  # type: ignore[union-attr]
    assert 0 < low <= 1.0 == high


@pytest.mark.parametrize("right", range(17))
def test_the_difference_of_choices_is_that_of_the_scores(right: int) -> None:
    """Of 16 choices of four, 4 right are an accuracy of 0, and so are fewer."""
    before = chosen([True] * 9 + [False] * 7, max(0.0, (9 / 16 - 0.25) / 0.75))
    after = chosen([True] * right + [False] * (16 - right), max(0.0, (right / 16 - 0.25) / 0.75))
    change = accuracy_change(before, after)
    assert change.value == pytest.approx(after.score.accuracy - before.score.accuracy, abs=1e-12)
    assert -1 <= change.low <= change.value <= change.high <= 1


def test_choices_below_chance_do_not_make_an_accuracy_of_0_fall() -> None:
    before, after = chosen([True] * 4 + [False] * 12, 0.0), chosen([False] * 16, 0.0)
    verdict = judge_sft(before, after)
    assert verdict.keep
    assert "accuracy 0.00 -> 0.00 (+0.00, within noise: " in verdict.sentence


def test_key_points_make_no_good_for_choices_below_chance() -> None:
    """Six answers right and six choices of four wrong are a half: the choices count as 0."""
    told, wrong, right = exam([1.0] * 6, [0.5] * 6), chosen([False] * 6, 0), chosen([True] * 6, 1)
    before = Exam(score(0.5, 0.5), (*told.answers, *wrong.answers))
    after = Exam(score(1.0, 0.5), (*told.answers, *right.answers))
    assert accuracy_change(before, after).value == pytest.approx(0.5)


def test_phrasings_of_a_choice_have_one_vote() -> None:
    """Two questions in six phrasings are no six turns; eighteen are six, by majority."""
    two = (0, 0, 0, 1, 1, 1)
    few = judge_sft(chosen([False] * 6, 0.0, two), chosen([True] * 6, 1.0, two)).sentence
    assert "McNemar" not in few
    six = tuple(place // 3 for place in range(18))
    most = [True, True, False] * 6
    told = judge_sft(chosen([False] * 18, 0.0, six), chosen(most, 0.55, six)).sentence
    # 2 / 2**6
    assert "of 6 questions with choices 6 turned right and 0 turned wrong" in told
    assert "McNemar's exact test p = 0.031)" in told
    pairs = tuple(place // 2 for place in range(12))
    split = judge_sft(chosen([False] * 12, 0.0, pairs), chosen([True, False] * 6, 1 / 3, pairs))
    # one of two phrasings is not more than half
    assert "of 6 questions with choices 0 turned right and 0 turned wrong" in split.sentence


def test_an_equal_fall_in_every_question_is_a_fall() -> None:
    verdict = judge_sft(exam([0.9] * 8, HALF[:8]), exam([0.5] * 8, HALF[:8]))
    assert not verdict.keep
    assert verdict.sentence.startswith("accuracy fell beyond noise; ")


def test_a_stage_that_gave_its_topic_up_is_never_kept() -> None:
    why = "not finite a third time (loss nan at step 4)"
    verdict = judge_failed(stage([0.0, 0.1]).model_copy(update={"failed": why}))
    assert not verdict.keep and verdict.sentence == f"the topic is given up: {why}"
    whole = judge_failed_topic(why)
    assert not whole.keep and whole.sentence == f"failed: {why}; rolled back"

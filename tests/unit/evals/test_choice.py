"""Multiple choice as lm-evaluation-harness counts it."""

from __future__ import annotations

import numpy as np
import pytest

from mindprint.errors import StageError
from mindprint.evals.choice import above_chance, choice_accuracy, corrected, mean_chance, pick
from mindprint.report.scores import ChoicePick

TREES = ("ash", "red oak", "oak", "elm")


def test_the_likeliest_choice_by_sum_character_and_byte() -> None:
    # Per character: ash -9/3 = -3, red oak -14/7 = -2, oak -9/3 = -3, elm -12/3 = -4.
    found = pick([-9.0, -14.0, -9.0, -12.0], TREES, 1)
    assert found == ChoicePick(by_sum=0, by_character=1, by_byte=1, answer=1, choices=4)
    assert found.right
    assert not pick([-3.0, -7.0, -3.0, -9.0], TREES, 1).right  # of equals the first


def test_choices_are_weighed_as_the_harness_weighs_them() -> None:
    rng = np.random.default_rng(0)
    choices = ["é" * 3, "abcd", "日本", "a longer choice", "ß"]
    for _ in range(200):
        lls = rng.normal(-10, 6, size=5)
        # lm_eval/api/task.py, process_results of multiple_choice
        characters = np.array([float(len(one)) for one in choices])
        octets = np.array([float(len(one.encode("utf-8"))) for one in choices])
        found = pick(lls.tolist(), choices, 0)
        assert found.by_sum == np.argmax(lls)
        assert found.by_character == np.argmax(lls / characters)
        assert found.by_byte == np.argmax(lls / octets)


def test_what_is_no_number_is_an_error() -> None:
    with pytest.raises(StageError, match="not finite"):
        pick([float("nan"), -1.0, -1.0, -1.0], TREES, 1)
    with pytest.raises(ValueError, match="1 log-probabilities for 4 choices"):
        pick([-1.0], TREES, 1)


@pytest.mark.parametrize(
    ("rate", "chance", "linear"),
    [(1, 0.25, 1), (0.25, 0.25, 0), (0.625, 0.25, 0.5), (0.1, 0.25, -0.2), (0.5, 1, 0)],
)
def test_correction_for_chance(rate: float, chance: float, linear: float) -> None:
    assert above_chance(rate, chance) == pytest.approx(linear)
    assert corrected(rate, chance) == pytest.approx(max(0, linear))


def test_a_topics_choices_are_corrected_for_their_mean_chance() -> None:
    right = ChoicePick(by_sum=0, by_character=1, by_byte=0, answer=1, choices=2)
    wrong = ChoicePick(by_sum=1, by_character=0, by_byte=1, answer=1, choices=4)
    assert mean_chance([right, wrong]) == pytest.approx(3 / 8)
    # 2 of 3 right at chance (1/2 + 1/2 + 1/4) / 3 = 5/12: (2/3 - 5/12) / (7/12) = 3/7
    assert choice_accuracy([right, right, wrong]) == pytest.approx(3 / 7)

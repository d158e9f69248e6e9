"""Intervals, paired differences and exact tests, against sums done by hand and scipy."""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from scipy import stats as scipy_stats

from mindprint.evals.exact import holm, mcnemar, wilson
from mindprint.evals.stats import Pairs, averaged, mean_interval, paired, shown_by

SHARES = [1.0, 0.5, 0.0, 1.0, 0.75, 0.25, 1.0, 1.0, 0.0, 0.5, 1.0, 0.6, 0.2]
BETTER = [1.0, 1.0, 0.5, 1.0, 0.75, 1.0, 1.0, 0.5, 0.4, 1.0, 1.0, 0.9, 0.2]
Made = Callable[..., Any]


@pytest.mark.parametrize(("right", "n"), [(0, 13), (13, 13), (1, 5), (7, 12), (990, 1000), (1, 1)])
def test_wilson_is_scipys(right: int, n: int) -> None:
    made = wilson(right, n)
    told = scipy_stats.binomtest(right, n).proportion_ci(method="wilson")
    assert made.value == right / n
    # two orders of the same float64 operations
    assert (made.low, made.high) == pytest.approx((told.low, told.high), abs=1e-12)
    assert made.low <= made.value <= made.high


def test_wilson_by_hand() -> None:
    """8 of 10: (0.8 + z2/20 -+ z sqrt(0.016 + z2/400)) / (1 + z2/10) with z = 1.959964."""
    z = 1.959963984540054
    low = (0.8 + z**2 / 20 - z * math.sqrt(0.016 + z**2 / 400)) / (1 + z**2 / 10)
    assert wilson(8, 10).low == pytest.approx(low, abs=1e-12)
    assert wilson(8, 10).low == pytest.approx(0.4902, abs=5e-5)


@pytest.mark.parametrize(("right", "n"), [(-1, 3), (4, 3), (0, 0)])
def test_wilson_of_no_share_is_refused(right: int, n: int) -> None:
    with pytest.raises(ValueError, match="is none"):
        wilson(right, n)


def test_the_interval_of_a_mean_is_scipys_percentile_bootstrap() -> None:
    made = mean_interval(SHARES, resamples=20_000)
    told = scipy_stats.bootstrap(
        (SHARES,), np.mean, n_resamples=20_000, method="percentile", rng=np.random.default_rng(1)
    ).confidence_interval
    assert made.value == pytest.approx(sum(SHARES) / 13)
    # another stream of draws: a percentile of 20,000 wavers by about 0.003 here
    assert (made.low, made.high) == pytest.approx((told.low, told.high), abs=0.015)


def test_phrasings_of_one_question_are_not_more_questions() -> None:
    once = mean_interval(SHARES)
    asked_thrice = mean_interval(
        [value for value in SHARES for _ in range(3)], [i for i in range(13) for _ in range(3)]
    )
    # rounding of a sum of three apart, the same draws of the same clusters
    assert asked_thrice.low == pytest.approx(once.low, abs=1e-12)
    assert asked_thrice.high == pytest.approx(once.high, abs=1e-12)
    narrow = mean_interval([value for value in SHARES for _ in range(3)])
    assert narrow.high - narrow.low < 0.7 * (once.high - once.low)


def test_clusters_weigh_as_many_values_as_they_have() -> None:
    """Two clusters in one place or apart: a resample's mean goes over values, not clusters."""
    values, clusters = [1.0, 1.0, 1.0, 0.0], [7, 7, 7, 2]
    made = mean_interval(values, clusters)
    # drawn twice over, the clusters give 1, 3/4 (either order) and 0
    assert (made.value, made.low, made.high) == (0.75, 0.0, 1.0)


@pytest.mark.parametrize(
    ("values", "clusters", "low", "high"),
    [
        # all 13 right: n / (n + z2) = 13 / 16.8415
        ([1.0] * 13, (), 0.7719, 1.0),
        ([0.0] * 13, (), 0.0, 0.2281),
        # ten phrasings of one question are one: 1 / (1 + z2)
        ([1.0] * 10, [4] * 10, 0.2065, 1.0),
    ],
)
def test_a_sample_without_spread_still_has_a_width(
    values: list[float], clusters: list[int], low: float, high: float
) -> None:
    made = mean_interval(values, clusters)
    assert (made.low, made.high) == pytest.approx((low, high), abs=5e-5)


@pytest.mark.parametrize("values", [[1.0] * 12 + [0.9], [1.0, 1.0, 0.9], [1.0, 0.5, 0.0]])
def test_a_sample_with_next_to_no_spread_is_no_surer_than_one_without(values: list[float]) -> None:
    made, n = mean_interval(values), len(values)
    told = wilson(sum(values), n)
    assert made.low <= told.low and made.high >= told.high


def test_choices_all_wrong_may_have_been_bad_luck() -> None:
    """Corrected for guessing they lie below 0: Wilson's interval of none right."""
    made = mean_interval([-1 / 3] * 12)
    assert made.high == pytest.approx(wilson(0, 12).high) and made.low == pytest.approx(-1 / 3)


def test_what_is_no_share_and_has_no_spread_is_a_point() -> None:
    made = mean_interval([3.5, 3.5, 3.5])
    assert (made.value, made.low, made.high) == (3.5, 3.5, 3.5)


def test_the_same_input_gives_the_same_numbers() -> None:
    assert mean_interval(SHARES, seed=3) == mean_interval(SHARES, seed=3)
    assert paired(SHARES, BETTER, seed=3) == paired(SHARES, BETTER, seed=3)
    assert mean_interval(SHARES, seed=3, resamples=500) != mean_interval(
        SHARES, seed=4, resamples=500
    )


def test_a_large_sample_is_drawn_in_parts_and_covers_its_mean() -> None:
    values = np.random.default_rng(5).normal(2.0, 1.0, 3000)
    made = mean_interval(values.tolist())
    # 1.96 standard errors either side, which 2,000 resamples find to a few per cent
    half = 1.96 * values.std() / math.sqrt(3000)
    assert made.value - made.low == pytest.approx(half, rel=0.1)
    assert made.high - made.value == pytest.approx(half, rel=0.1)


@pytest.mark.parametrize(
    "call",
    [
        lambda: mean_interval([]),
        lambda: mean_interval([1.0, math.nan]),
        lambda: mean_interval([1.0, 0.0], [1]),
        lambda: mean_interval([1.0, 0.0], resamples=0),
        lambda: paired([1.0], [1.0, 0.0]),
        lambda: paired([], []),
        lambda: averaged([]),
        lambda: paired([1.0], [1.0], floor=0.0, floored=[True, True]),
    ],
)
def test_what_has_no_interval_is_refused(call: Made) -> None:
    with pytest.raises(ValueError):
        call()


def test_a_paired_difference_is_the_interval_of_the_differences() -> None:
    change = paired(SHARES, BETTER, seed=2)
    told = mean_interval([b - a for a, b in zip(SHARES, BETTER, strict=True)], seed=2)
    # the same draws; sums of two means for means of differences, so rounding apart
    expected = pytest.approx((told.value, told.low, told.high), abs=1e-12)
    assert (change.value, change.low, change.high) == expected
    assert change.clusters == 13


def test_p_is_that_of_a_paired_t_test() -> None:
    change = paired(SHARES, BETTER)
    expected = float(scipy_stats.ttest_rel(BETTER, SHARES).pvalue)
    assert change.p == pytest.approx(expected, rel=1e-9)


def test_p_goes_by_clusters_and_not_by_answers() -> None:
    """Twenty answers of four questions: however often asked, four signs alike are worth 2/16."""
    clusters = [i for i in range(4) for _ in range(5)]
    assert paired([0.0] * 20, [0.2, 0.4, 0.6, 0.8, 1.0] * 4, clusters).p == 2 / 16


def test_p_of_clusters_by_hand() -> None:
    """Twelve clusters of two answers, summed differences 1 (nine times) and -1 (three times): the
    mean sum is 0.5, and what is left is Student's t."""
    after = [1.0, 0.0] * 9 + [0.0, 0.0] * 3
    before = [0.0, 0.0] * 9 + [1.0, 0.0] * 3
    clusters = [i for i in range(12) for _ in range(2)]
    t = 0.5 / math.sqrt((9 * 0.5**2 + 3 * 1.5**2) / 11 / 12)
    assert paired(before, after, clusters).p == pytest.approx(2 * scipy_stats.t.sf(t, 11))


def test_a_few_differences_that_are_alike_are_no_proof() -> None:
    """Without the bound four of them, 1, 1, 1 and 0.9, would give p = 0.00004."""
    assert paired([0.0] * 4, [1.0, 1.0, 1.0, 0.9]).p == 1 / 8


def test_chance_alone_is_rarely_called_a_difference() -> None:
    """Eight questions that turn right or wrong by lot, a quarter of them each way."""
    rng = np.random.default_rng(5)
    turned = rng.choice([-1.0, 0.0, 1.0], p=[0.25, 0.5, 0.25], size=(1000, 8))
    ps = np.array([paired([0.5] * 8, (0.5 + row / 2).tolist(), resamples=1).p for row in turned])
    # nominal 5 % and 0.83 % (six topics after Holm), plus three standard errors of 1,000 draws
    assert np.mean(ps < 0.05) < 0.05 + 0.021
    assert np.mean(ps < 0.05 / 6) < 0.05 / 6 + 0.009


def test_unseen_by_hand() -> None:
    """One of 13 answers turned wrong: the standard error is sqrt(d2 / (13 * 12)), with the squared
    deviations d2 = 12 * (1/13)**2 + (12/13)**2 = 12/13."""
    change = paired([1.0] * 13, [1.0] * 12 + [0.0])
    assert change.unseen == pytest.approx(
        (1.9599640 + 0.8416212) * math.sqrt(12 / 13 / (13 * 12)), abs=1e-6
    )


def test_unseen_with_clusters_by_hand() -> None:
    """Six clusters of 2 or 1 answers with differences (0.4, 0), (0), (-0.4) and again: the mean is
    0, and the cluster sums 0.4, 0, -0.4, twice, give 1/8 sqrt(6/5 * 0.64)."""
    before, after = [0.0, 0.0, 0.0, 0.4] * 2, [0.4, 0.0, 0.0, 0.0] * 2
    change = paired(before, after, [0, 0, 1, 2, 3, 3, 4, 5])
    assert change.value == 0
    expected = (1.9599640 + 0.8416212) * math.sqrt(6 / 5 * 0.64) / 8
    assert change.unseen == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(("clusters", "fallen"), [(6, 3), (8, 3), (13, 4), (30, 4)])
def test_where_nothing_changed_unseen_is_what_the_interval_would_show(
    clusters: int, fallen: int
) -> None:
    """`fallen` of the clusters are what a resample misses with a chance of 2.5 % or less, and the
    share that shows as many is the lower 20 % bound of Clopper and Pearson."""
    assert (1 - fallen / clusters) ** clusters <= 0.025 < (1 - (fallen - 1) / clusters) ** clusters
    shared = paired([0.6] * clusters, [0.6] * clusters).unseen
    assert scipy_stats.binom.sf(fallen - 1, clusters, shared) == pytest.approx(0.8)
    assert shown_by(fallen, clusters) == shared


def test_where_nothing_changed_the_interval_is_what_was_not_shown() -> None:
    change = paired(SHARES, SHARES)
    assert (change.value, change.p) == (0.0, 1.0)
    # the exact bound on a share never seen in 13: Clopper and Pearson, from scipy
    bound = scipy_stats.binomtest(0, 13).proportion_ci(method="exact").high
    assert (change.low, change.high) == pytest.approx((-bound, bound), abs=1e-9)
    assert not change.rose and not change.fell


@pytest.mark.parametrize("after", [[0.5, 0.5], [0.4, 0.6, 0.5], [0.1, 0.9, 0.5, 0.5, 0.5]])
def test_with_five_questions_or_fewer_any_fall_may_go_unseen(after: list[float]) -> None:
    assert paired([0.5] * len(after), after).unseen == 1.0


@pytest.mark.parametrize(("clusters", "resamples"), [(8, 20_000), (13, 1000), (30, 1000)])
def test_a_fall_of_what_could_go_unseen_is_noticed_four_times_in_five(
    clusters: int, resamples: int
) -> None:
    """Questions lost one by one with the chance that an unchanged exam could not rule out: 400
    exams have a standard error of 2 %, three of which are 6 %. Of 8 questions 3 lost are missed
    by 2.3 % of all resamples, so near to 2.5 that it takes 20,000 of them to tell."""
    share = paired([1.0] * clusters, [1.0] * clusters).unseen
    rng = np.random.default_rng(7)
    noticed = 0
    for number in range(400):
        after = np.where(rng.uniform(size=clusters) < share, 0.0, 1.0).tolist()
        noticed += paired([1.0] * clusters, after, seed=number, resamples=resamples).fell
    assert noticed / 400 == pytest.approx(0.8, abs=0.06)


@pytest.mark.parametrize("clusters", [8, 13, 30])
def test_a_fall_of_so_many_standard_errors_is_noticed_four_times_in_five(clusters: int) -> None:
    """Falls of 2.80 standard errors, normal around it. A bootstrap of 8 is narrower than it should
    be by sqrt(7/8) and knows no t, so it sees a few per cent more; 400 draws have a standard error
    of 2 %."""
    rng = np.random.default_rng(3)
    fall = (1.959964 + 0.841621) * 0.2 / math.sqrt(clusters)
    drawn = rng.normal(-fall, 0.2, size=(400, clusters))
    noticed = sum(
        paired([0.0] * clusters, row.tolist(), seed=number, resamples=400).fell
        for number, row in enumerate(drawn)
    )
    assert 0.8 - 0.06 < noticed / 400 < 0.8 + 0.10


def test_all_wrong_after_all_right_is_a_fall_and_not_a_certain_one() -> None:
    change = paired([1.0] * 13, [0.0] * 13)
    assert change.fell and change.low == -1
    # the share of questions that 13 need not have shown is taken not to have fallen
    assert change.high == pytest.approx(-1 * 0.025 ** (1 / 13))


@pytest.mark.parametrize("change", [-0.4, -0.05, 0.05, 0.2])
@pytest.mark.parametrize("clusters", [6, 8, 12])
def test_the_same_change_in_every_question_is_no_noise(change: float, clusters: int) -> None:
    """Nor does a hundredth more in one question turn it into, or out of, noise."""
    open_ = 1 - 0.025 ** (1 / clusters)
    made = paired([0.5] * clusters, [0.5 + change] * clusters)
    ends = sorted([change * (1 - open_), change + math.copysign(open_ * (1 - abs(change)), change)])
    assert (made.low, made.high) == pytest.approx(tuple(ends))
    nearly = paired([0.5] * clusters, [0.5 + change] * (clusters - 1) + [0.51 + change])
    assert (made.rose, made.fell) == (nearly.rose, nearly.fell) == (change > 0, change < 0)
    # a hundredth in one question moves no end by more than twice that
    assert (nearly.low, nearly.high) == pytest.approx((made.low, made.high), abs=0.02)
    # Student's t with one question more that did not change
    expected = scipy_stats.ttest_1samp([change] * clusters + [0.0], 0).pvalue
    assert made.p == pytest.approx(float(expected), rel=1e-6)


def test_small_changes_both_ways_are_noise_though_they_are_near_each_other() -> None:
    change = paired([0.5] * 8, [0.54, 0.48] * 4)
    assert change.value == pytest.approx(0.01) and not change.rose
    assert change.p > 0.05


def test_a_floor_is_put_under_each_mean_and_not_under_the_difference() -> None:
    """Choices of four all wrong are -1/3 each; after 4 of 16 right the mean is 0, and no more."""
    wrong = [-1 / 3] * 16
    some = [1.0] * 4 + [-1 / 3] * 12
    for before, after in ((wrong, some), (some, wrong), (wrong, wrong)):
        change = paired(before, after, floor=0.0)
        assert change.value == 0.0 and not change.rose and not change.fell
        assert change.low < 0 or change.high > 0
    rise = paired(wrong, [1.0] * 16, floor=0.0)
    assert rise.value == 1.0 == rise.high and 0 < rise.low < 1


def test_a_floor_holds_those_values_alone_that_it_is_for() -> None:
    """Six right answers and six choices all wrong are a half, not (6 - 2) / 12."""
    floored = [False] * 6 + [True] * 6
    change = paired([1.0] * 6 + [-1 / 3] * 6, [1.0] * 12, floor=0.0, floored=floored)
    assert change.value == pytest.approx(0.5)
    assert change.low <= change.value <= change.high <= 1.0


@pytest.mark.parametrize("seed", range(20))
def test_a_floored_difference_lies_within_its_interval_and_within_1(seed: int) -> None:
    rng = np.random.default_rng(seed)
    size = int(rng.integers(1, 20))
    before, after = (
        np.where(rng.uniform(size=size) < rng.uniform(), 1.0, -1.0).tolist() for _ in range(2)
    )
    change = paired(before, after, floor=0.0, resamples=200)
    expected = max(0.0, float(np.mean(after))) - max(0.0, float(np.mean(before)))
    assert change.value == pytest.approx(expected, abs=1e-12)
    assert -1 <= change.low <= change.value <= change.high <= 1


def test_the_average_of_quizzes_gives_each_the_same_weight() -> None:
    """By hand: (1 + 2/40) / 2, though 6 of 44 questions is 0.14."""
    few = Pairs([0.0] * 4, [1.0] * 4)
    many = Pairs([0.0] * 40, [0.0] * 38 + [1.0] * 2)
    change = averaged([few, many])
    assert change.value == pytest.approx(0.525) and change.clusters == 44
    assert -1 <= change.low < change.value < change.high <= 1
    assert change.rose
    assert averaged([many]) == paired(many.before, many.after)


def test_the_average_of_quizzes_is_a_stratified_bootstrap() -> None:
    """Two quizzes with spread: the standard error is that of independent means, halved."""
    rng = np.random.default_rng(4)
    quizzes = [Pairs([0.0] * size, rng.uniform(size=size).tolist()) for size in (60, 120)]
    change = averaged(quizzes, resamples=4000)
    parts = [np.std(one.after) ** 2 / len(one.after) for one in quizzes]
    half = 1.959964 * math.sqrt(sum(parts)) / 2
    # a percentile of 4,000 resamples wavers by about 3 % of the half width
    assert change.value - change.low == pytest.approx(half, rel=0.1)
    assert change.high - change.value == pytest.approx(half, rel=0.1)


def test_the_average_of_quizzes_without_spread_still_has_a_width() -> None:
    still, risen = Pairs([0.5] * 8, [0.5] * 8), Pairs([0.0] * 8, [1.0] * 8)
    change = averaged([still, risen])
    open_ = 1 - 0.025 ** (1 / 8)
    # each quiz leaves `open_` open below, in squares, over two quizzes
    assert change.low == pytest.approx(0.5 - math.hypot(open_, open_) / 2)
    assert change.high == pytest.approx(0.5 + open_ / 2)
    assert averaged([still, still]).p == 1.0


@pytest.mark.parametrize("questions", range(1, 9))
def test_five_questions_are_never_beyond_noise(questions: int) -> None:
    """As far as signs go: 2 / 2**5 is more than 0.05, 2 / 2**6 is less."""
    before, after = [1.0] * questions, [0.1] + [0.0] * (questions - 1)
    change = paired(before, after)
    assert change.fell is (questions >= 6) is (change.p < 0.05)


def test_rounding_does_not_make_a_rise() -> None:
    """0.1 + 0.2 is not 0.3: a sum of such differences is 0 on paper and 1e-17 in float64."""
    before, after = [0.3, 0.0, 0.0] * 5, [0.0, 0.1, 0.2] * 5
    assert paired(before, after, [i for i in range(5) for _ in range(3)]).value == 0.0


@pytest.mark.parametrize(
    ("gained", "lost"), [(0, 0), (1, 0), (0, 6), (3, 3), (8, 2), (2, 8), (40, 20)]
)
def test_mcnemar_is_the_binomial_sum(gained: int, lost: int) -> None:
    before = [True] * (5 + lost) + [False] * (gained + 4)
    after = [True] * 5 + [False] * lost + [True] * gained + [False] * 4
    turned, fewer = gained + lost, min(gained, lost)
    tail = Fraction(sum(math.comb(turned, i) for i in range(fewer + 1)), 2**turned)
    assert mcnemar(before, after) == pytest.approx(float(min(Fraction(1), 2 * tail)), abs=1e-12)


def test_holm_by_hand() -> None:
    """Sorted 0.01, 0.02, 0.03, 0.5 times 4, 3, 2, 1: 0.04, 0.06, 0.06, 0.5, never falling."""
    assert holm([0.5, 0.01, 0.03, 0.02]) == pytest.approx([0.5, 0.04, 0.06, 0.06])
    assert holm([0.6, 0.7]) == [1.0, 1.0]
    assert holm([]) == []


def test_holm_lies_between_none_and_bonferroni() -> None:
    ps = np.random.default_rng(0).uniform(size=20).tolist()
    for p, adjusted in zip(ps, holm(ps), strict=True):
        assert p <= adjusted <= min(1.0, 20 * p)
    order = np.argsort(ps)
    assert np.all(np.diff(np.array(holm(ps))[order]) >= 0)


def test_holm_refuses_what_is_no_p() -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        holm([0.5, 1.2])


def test_the_interval_holds_the_truth_about_as_often_as_it_says() -> None:
    """13 questions, half of them right in truth: the percentile bootstrap is known to be a little
    too narrow for so few (Efron and Tibshirani, chapter 14); below 85 % it would be broken."""
    rng = np.random.default_rng(8)
    held = 0
    for number in range(300):
        right = (rng.uniform(size=13) < 0.5).astype(float).tolist()
        made = mean_interval(right, seed=number, resamples=400)
        held += made.low <= 0.5 <= made.high
    assert 0.85 <= held / 300 <= 0.99


def test_changes_by_chance_are_seldom_called_falls() -> None:
    """12 answers of which each turned right or wrong with one chance in eight: about 2.5 % of the
    draws may lie below 0 by chance; the bootstrap of so few may come to twice that."""
    rng = np.random.default_rng(9)
    fell = 0
    for number in range(400):
        turned = rng.choice([-1.0, 0.0, 1.0], size=12, p=[0.125, 0.75, 0.125])
        before = np.where(turned < 0, 1.0, 0.0)
        fell += paired(before.tolist(), (before + turned).tolist(), seed=number, resamples=400).fell
    assert fell / 400 < 0.05

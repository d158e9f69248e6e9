"""The matrices of forgetting, and their figures against sums done by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from mindprint.evals.forgetting import Kept, finished, matrix, transfer, transfers
from mindprint.report.kept import Retained
from mindprint.report.scores import Score, StageName

TOPICS = ("a", "b", "c", "d")
NAN = math.nan
R = np.array(
    [
        [0.10, 0.00, 0.20, 0.05],  # the base
        [0.90, 0.15, 0.25, 0.10],  # after a
        [0.70, 0.80, 0.30, 0.00],  # after b
        [0.75, 0.60, 0.95, 0.20],  # after c
        [0.50, 0.65, 0.85, 1.00],  # after d
    ]
)


def score(value: float) -> Score:
    return Score(
        accuracy=value,
        voice=0.5,
        markers=value / 2,
        degenerate=1 - value,
        questions=12,
        clusters=12,
    )


def row(stage: StageName, after: str = "", **values: float) -> Retained:
    scores = {topic: score(value) for topic, value in values.items()}
    return Retained(after=after, stage=stage, scores=scores)


def run(values: np.ndarray) -> list[Retained]:
    """The rows of a run over these topics: base, and for each one `before` and `final`."""
    rows = [row("base", **dict(zip(TOPICS, values[0], strict=True)))]
    for place, topic in enumerate(TOPICS):
        known = dict(zip(TOPICS[: place + 1], values[place + 1], strict=False))
        rows.append(row("before", topic, **{topic: values[place, place]}))
        rows.append(row("sft", topic, **dict.fromkeys(known, 0.33)))
        rows.append(row("final", topic, **known, retention=0.44))
    return rows


def measured(values: np.ndarray) -> np.ndarray:
    """What such a run measures: the base, what was learned, and each topic as it began."""
    seen = np.tri(5, 4, -1, dtype=bool)
    seen[0] = True
    seen[np.arange(1, 4), np.arange(1, 4)] = True
    return np.where(seen, values, NAN)


def test_the_matrix_is_what_was_measured() -> None:
    np.testing.assert_array_equal(matrix(run(R), TOPICS, "accuracy"), measured(R))
    np.testing.assert_array_equal(matrix(run(R), TOPICS, "markers"), measured(R / 2))
    np.testing.assert_array_equal(matrix(run(R), TOPICS, "degenerate"), measured(1 - R))


def test_four_topics_by_hand() -> None:
    made = transfer(matrix(run(R), TOPICS, "accuracy"))
    assert made is not None
    assert made.average == pytest.approx((0.50 + 0.65 + 0.85 + 1.00) / 4)
    assert made.backward == pytest.approx(((0.50 - 0.90) + (0.65 - 0.80) + (0.85 - 0.95)) / 3)
    assert made.forward == pytest.approx(((0.15 - 0.00) + (0.30 - 0.20) + (0.20 - 0.05)) / 3)
    assert made.forgetting == pytest.approx(((0.90 - 0.50) + (0.80 - 0.65) + (0.95 - 0.85)) / 3)


def test_the_most_that_was_ever_known_is_what_can_be_forgotten() -> None:
    """Topic a was best after c, not when it was learned; what the base knew does not count."""
    better = R.copy()
    better[3, 0], better[0, 1] = 1.0, 1.0
    made = transfer(better)
    assert made is not None
    assert made.forgetting == pytest.approx(((1.00 - 0.50) + (0.80 - 0.65) + (0.95 - 0.85)) / 3)
    assert made.backward == pytest.approx(((0.50 - 0.90) + (0.65 - 0.80) + (0.85 - 0.95)) / 3)


def test_for_degeneracy_the_signs_turn() -> None:
    made = transfers(run(R), TOPICS)
    assert list(made) == ["accuracy", "markers", "degenerate"]
    accuracy, degenerate = made["accuracy"], made["degenerate"]
    assert degenerate.backward == pytest.approx(-(accuracy.backward or 0))
    assert degenerate.average == pytest.approx(1 - accuracy.average)
    # columns of 1 - R: a 0.10, 0.30, 0.25, b 0.85 (as it began), 0.20, 0.40, c 0.70, 0.05
    assert degenerate.forgetting == pytest.approx(
        ((0.30 - 0.50) + (0.85 - 0.35) + (0.70 - 0.15)) / 3
    )


def test_one_topic_has_an_average_alone() -> None:
    rows = [row("base", a=0.1), row("before", "a", a=0.1), row("final", "a", a=0.9)]
    made = transfers(rows, ["a"])["accuracy"]
    assert made.average == 0.9
    assert (made.backward, made.forward, made.forgetting) == (None, None, None)


def test_no_topic_has_no_figures() -> None:
    assert transfers([], TOPICS) == {}
    assert transfers([row("base", a=0.1, b=0.2)], TOPICS) == {}
    assert matrix([], TOPICS, "accuracy").shape == (1, 0)


def test_only_finished_topics_count() -> None:
    """Stopped within c: c has no row of its own yet."""
    rows = run(R)[: 1 + 3 * 2 + 2]
    assert [(one.after, one.stage) for one in rows[-2:]] == [("c", "before"), ("c", "sft")]
    assert finished(rows, TOPICS) == ("a", "b")
    made = matrix(rows, TOPICS, "accuracy")
    np.testing.assert_array_equal(made, measured(R)[:3, :2])
    told = transfer(made)
    assert told is not None and told.backward == pytest.approx(0.70 - 0.90)


def test_the_order_is_that_of_the_topics_and_not_of_the_rows() -> None:
    rows = run(R)
    again = [*rows[4:], *rows[:4]]
    np.testing.assert_array_equal(
        matrix(again, TOPICS, "accuracy"), matrix(rows, TOPICS, "accuracy")
    )


def test_a_row_measured_again_replaces_the_first() -> None:
    rows = [*run(R), row("final", "d", a=0.55, b=0.65, c=0.85, d=1.0)]
    assert matrix(rows, TOPICS, "accuracy")[4, 0] == 0.55


def test_the_base_row_stands_before_the_first_topics_own() -> None:
    rows = [row("before", "a", a=0.3), row("final", "a", a=0.9)]
    assert matrix(rows, ["a"], "accuracy")[0, 0] == 0.3
    assert matrix([*rows, row("base", a=0.1)], ["a"], "accuracy")[0, 0] == 0.1


def test_figures_go_over_what_was_measured() -> None:
    """The last row lacks b, and nothing was asked before c began."""
    missing = measured(R)
    missing[4, 1], missing[2, 2] = NAN, NAN
    made = transfer(missing)
    assert made is not None
    assert made.average == pytest.approx((0.50 + 0.85 + 1.00) / 3)
    assert made.backward == pytest.approx(((0.50 - 0.90) + (0.85 - 0.95)) / 2)
    assert made.forward == pytest.approx(((0.15 - 0.00) + (0.20 - 0.05)) / 2)
    assert made.forgetting == pytest.approx(((0.90 - 0.50) + (0.95 - 0.85)) / 2)


def test_without_earlier_topics_asked_again_nothing_is_said_of_them() -> None:
    alone = np.full((5, 4), NAN)
    alone[np.arange(1, 5), np.arange(4)] = 0.8
    made = transfer(alone)
    assert made is not None and made.average == 0.8
    assert (made.backward, made.forward, made.forgetting) == (None, None, None)
    assert transfer(np.full((5, 4), NAN)) is None


def test_another_shape_is_refused() -> None:
    with pytest.raises(ValueError, match=r"\[4, 4\] is not \[T\+1, T\]"):
        transfer(np.zeros((4, 4)))


def matrices(lowest: int = 2) -> st.SearchStrategy[np.ndarray]:
    shares = st.floats(0, 1)
    return st.integers(lowest, 6).flatmap(
        lambda count: hnp.arrays(np.float64, (count + 1, count), elements=shares)
    )


@given(matrices())
def test_at_least_what_was_lost_since_learning_is_forgotten(values: np.ndarray) -> None:
    """max_l R[l, j] >= R[j, j], so forgetting >= -backward; equal where learning was the best."""
    made = transfer(values)
    assert made is not None and made.forgetting is not None and made.backward is not None
    assert made.forgetting >= -made.backward - 1e-12
    best = values.copy()
    for place in range(values.shape[1]):
        best[place + 1, place] = 1.0
    top = transfer(best)
    assert top is not None and top.forgetting is not None and top.backward is not None
    assert top.forgetting == pytest.approx(-top.backward, abs=1e-12)


@given(matrices(), st.floats(-1, 1))
def test_a_constant_more_everywhere_moves_the_average_alone(
    values: np.ndarray, more: float
) -> None:
    one, other = transfer(values), transfer(values + more)
    assert one is not None and other is not None
    assert other.average == pytest.approx(one.average + more, abs=1e-12)
    for figure in ("backward", "forward", "forgetting"):
        assert getattr(other, figure) == pytest.approx(getattr(one, figure), abs=1e-12)


@given(st.integers(2, 8), st.floats(0, 1))
def test_where_all_is_equal_nothing_moved(count: int, value: float) -> None:
    made = transfer(np.full((count + 1, count), value))
    assert made is not None
    assert (made.backward, made.forward, made.forgetting) == (0.0, 0.0, 0.0)
    assert made.average == pytest.approx(value)


Told = tuple[tuple[int, float, float, float], ...]


def asked(rights: list[float], clusters: list[int] | None = None) -> Told:
    numbers = clusters or list(range(len(rights)))
    return tuple((at, one, one / 2, 0.0) for at, one in zip(numbers, rights, strict=True))


def told(stage: StageName, after: str = "", **values: Told) -> Retained:
    means = {topic: float(np.mean([one[1] for one in v])) for topic, v in values.items()}
    scores = {topic: score(max(0.0, mean)) for topic, mean in means.items()}
    found = {topic: made.model_copy(update={"degenerate": 0.0}) for topic, made in scores.items()}
    return Retained(after=after, stage=stage, scores=found, values=values)


def two(learned: Told, last: Told, none: Told, began: Told, own: Told) -> list[Retained]:
    """Two topics: a as `learned` and as it was at the `last`, b as it `began` and was learned."""
    return [
        told("base", a=none, b=none),
        told("before", "a", a=none),
        told("final", "a", a=learned),
        told("before", "b", b=began),
        told("final", "b", a=last, b=own),
    ]


def test_a_question_is_compared_with_itself() -> None:
    """Answers that differ a lot and fall alike: resampled apart, backward transfer would be as
    unsure as the answers differ; one draw for all rows leaves the difference alone."""
    rng = np.random.default_rng(2)
    first = rng.uniform(0.4, 1.0, 30)
    falls = rng.normal(0.3, 0.05, 30)
    none, own = asked([0.0] * 30), asked(rng.uniform(size=30).tolist())
    rows = two(asked(first.tolist()), asked((first - falls).tolist()), none, none, own)
    made = transfers(rows, "ab", resamples=4000)["accuracy"]
    assert made.backward_interval is not None and made.forgetting_interval is not None
    half = 1.96 * falls.std() / math.sqrt(30)
    assert made.backward == pytest.approx(-falls.mean())
    # a percentile of 4,000 resamples wavers by about 3 % of the half width
    assert made.backward_interval[1] - made.backward_interval[0] == pytest.approx(2 * half, rel=0.1)
    assert half < first.std() / math.sqrt(30)
    # of two topics forgetting is what was lost since learning
    low, high = made.backward_interval
    assert made.forgetting_interval == pytest.approx((-high, -low))


def test_topics_are_resampled_each_for_itself() -> None:
    """The average of two: half the standard errors of both, as squares."""
    rng = np.random.default_rng(6)
    one, other = rng.uniform(size=40), rng.uniform(size=60)
    none = asked([0.0] * 40)
    rows = [
        told("base", a=none, b=asked([0.0] * 60)),
        told("final", "a", a=none),
        told("final", "b", a=asked(one.tolist()), b=asked(other.tolist())),
    ]
    made = transfers(rows, "ab", resamples=4000)["accuracy"]
    assert made.average_interval is not None
    half = 1.96 * math.hypot(one.std() / math.sqrt(40), other.std() / math.sqrt(60)) / 2
    width = made.average_interval[1] - made.average_interval[0]
    # as above
    assert width == pytest.approx(2 * half, rel=0.1)


def test_phrasings_stay_together() -> None:
    rng = np.random.default_rng(1)
    values = rng.uniform(size=12).tolist()
    own = asked([0.5] * 12)
    alone = two(asked(values), asked(values[::-1]), own, own, own)
    thrice = [
        one.model_copy(
            update={"values": {k: tuple(q for q in v for _ in range(3)) for k, v in told.items()}}
        )
        for one in alone
        for told in [one.values]
    ]
    # the same draws of the same clusters: rounding apart
    one, three = (transfers(rows, "ab")["accuracy"].backward_interval for rows in (alone, thrice))
    assert three == pytest.approx(one, abs=1e-12)


@pytest.mark.parametrize("figure", ["accuracy", "markers", "degenerate"])
def test_every_figure_lies_in_its_interval(figure: Kept) -> None:
    for seed in range(10):
        rng = np.random.default_rng(seed)
        # choices corrected for guessing: single values below 0, scores not
        drawn = [asked(rng.choice([-1 / 3, 1.0], size=8).tolist()) for _ in range(5)]
        rows = two(*drawn)
        made = transfers(rows, "ab", resamples=200)[figure]
        for name in ("average", "backward", "forward", "forgetting"):
            low, high = getattr(made, f"{name}_interval")
            assert -1 <= low <= getattr(made, name) <= high <= 1


def test_where_nothing_was_lost_the_few_questions_still_leave_something_open() -> None:
    """Twelve questions as they were: as in a verdict, 1 - 0.025**(1/12) either way."""
    kept, none = asked([1.0] * 12), asked([0.0] * 12)
    few, none_of_few = asked([1.0] * 6), asked([0.0] * 6)
    rows = two(kept, kept, none, none_of_few, few)
    rows[0] = told("base", a=none, b=none_of_few)
    made = transfers(rows, "ab")["accuracy"]
    assert made.backward == made.forward == 0.0
    # the second topic's six questions say nothing of what became of the first, nor they of those
    assert made.forward_interval == pytest.approx((-1 + 0.025 ** (1 / 6), 1 - 0.025 ** (1 / 6)))
    open_ = 1 - 0.025 ** (1 / 12)
    assert made.backward_interval == pytest.approx((-open_, open_))
    assert made.average_interval is not None and made.average_interval[0] < 1.0


def test_a_total_loss_is_beyond_noise() -> None:
    kept, none = asked([1.0] * 6), asked([0.0] * 6)
    made = transfers(two(kept, none, none, none, kept), "ab")["accuracy"]
    assert made.backward == -1.0
    assert made.backward_interval is not None and made.backward_interval[1] < 0


def test_rows_that_do_not_tell_questions_apart_have_no_intervals() -> None:
    for made in transfers(run(R), TOPICS).values():
        assert made.average_interval is None and made.backward_interval is None
    kept = asked([1.0] * 6)
    rows = two(kept, kept, kept, kept, kept)
    rows[2] = rows[2].model_copy(update={"values": {}})
    assert transfers(rows, "ab")["accuracy"].forgetting_interval is None


def test_one_topic_has_an_interval_of_its_average_alone() -> None:
    rows = [told("base", a=asked([0.0] * 6)), told("final", "a", a=asked([1.0, 0.0] * 3))]
    made = transfers(rows, "a")["accuracy"]
    assert made.average_interval is not None
    assert made.average_interval[0] < 0.5 < made.average_interval[1]
    assert made.backward_interval is None


def test_rows_of_other_questions_are_refused() -> None:
    kept = asked([1.0] * 6)
    rows = two(kept, asked([1.0] * 5), kept, kept, kept)
    with pytest.raises(ValueError, match="rows of a do not have the same questions"):
        transfers(rows, "ab")

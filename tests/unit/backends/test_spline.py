"""LS-LoRA's spline: the identity while nothing is learned, 0 at 0, and its grid where it is set."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from backends import lora, spline
from backends.contract import AdapterSpec, Spline

FORMS = [
    Spline(knots, low, high, interpolation, outside)
    for knots, low, high in ((5, -3.0, 3.0), (7, -1.0, 2.0), (4, -0.3, 0.6), (3, -40.0, 40.0))
    for interpolation in ("piecewise", "soft")
    for outside in ("linear", "clamp")
]


@pytest.fixture(params=FORMS, ids=lambda s: f"{s.knots}-{s.low:g}-{s.interpolation}-{s.outside}")
def form(request: pytest.FixtureRequest) -> Spline:
    found = request.param
    assert isinstance(found, Spline)
    return found


def inputs(form: Spline, times: float, seed: int = 1) -> NDArray[np.float64]:
    """Drawn up to `times` the grid, on both sides, and the knots themselves."""
    draws = np.random.default_rng(seed).uniform(-1, 1, (50, 20)) * times * form.high
    return np.concatenate([draws.reshape(-1), spline.knots(form), [form.low, form.high, 0.0]])


def bent(form: Spline, seed: int = 2) -> NDArray[np.float64]:
    return spline.knots(form) + np.random.default_rng(seed).normal(0, 0.4, form.knots)


def test_phi_begins_as_the_identity_up_to_100_times_the_grid(form: Spline) -> None:
    u = inputs(form, 100.0)
    assert np.array_equal(spline.phi(u, spline.knots(form), form), u)  # to the bit


def test_stored_values_begin_as_the_identity(form: Spline) -> None:
    """In float32, as a file has them: a knot such as 0.1 is rounded once."""
    spec = AdapterSpec(kind="lslora", spline=form, rank=2)
    values = lora.initial(spec, "layer", 3, 4)[lora.name_v("layer")]
    assert values.dtype == np.float32
    u = inputs(form, 100.0)
    # Two knots rounded by eps/2 of themselves make a slope of up to eps * (knots - 1).
    bound = np.finfo(np.float32).eps * form.knots * np.abs(u).max()
    assert np.abs(spline.phi(u, values, form) - u).max() <= bound


def test_phi_is_0_at_0_whatever_was_learned(form: Spline) -> None:
    for seed in range(20):
        values = bent(form, seed)
        # The weights at 0 are summed twice, in the order of one row and of many.
        bound = 1e-14 * np.abs(values).max()
        assert np.abs(spline.phi(np.zeros((4, 3)), values, form)).max() <= bound
        assert abs(float(spline.phi(0.0, values, form))) <= bound


def test_a_constant_over_all_values_adds_nothing(form: Spline) -> None:
    u, values = inputs(form, 3.0), bent(form)
    lifted = spline.phi(u, values + 0.7, form)
    np.testing.assert_allclose(lifted, spline.phi(u, values, form), atol=1e-12)


def test_piecewise_phi_goes_through_its_values(form: Spline) -> None:
    form = replace(form, interpolation="piecewise")
    values, zero = bent(form), spline.zero(form)
    residual = values - spline.knots(form)
    wanted = values - residual[zero]
    np.testing.assert_allclose(spline.phi(spline.knots(form), values, form), wanted, atol=1e-12)
    middle = (spline.knots(form)[1:] + spline.knots(form)[:-1]) / 2
    between = (wanted[1:] + wanted[:-1]) / 2  # straight from knot to knot
    np.testing.assert_allclose(spline.phi(middle, values, form), between, atol=1e-12)


def test_outside_the_grid_the_residual_keeps_its_slope_or_its_value(form: Spline) -> None:
    values, small = bent(form), 1e-6 * (form.high - form.low)
    for end, outwards in ((form.low, -1.0), (form.high, 1.0)):
        inside = end - outwards * small
        at, within = (spline.phi(u, values, form) for u in (end, inside))
        slope = (at - within) / (outwards * small)
        far = outwards * np.array([0.5, 5.0, 500.0])
        found = spline.phi(end + far, values, form) - at
        wanted = far if form.outside == "clamp" else slope * far
        assert (np.abs(found - wanted) < 1e-4 * np.abs(far)).all()  # the slope is a difference
        beyond = spline.phi(end + outwards * small, values, form)
        assert abs(float(beyond - at)) < 1e3 * small  # no jump at the grid's end


def test_the_grid_is_the_specs(form: Spline) -> None:
    """One value off the identity is felt around its own knot, and there alone (inside)."""
    knots, step = spline.knots(form), spline.spacing(form)
    np.testing.assert_allclose(np.diff(knots), step)
    assert (knots[0], knots[-1]) == (form.low, form.high)
    assert knots[spline.zero(form)] == 0.0
    place = 0 if spline.zero(form) else form.knots - 1
    values = knots.copy()
    values[place] += 1.0
    u = np.linspace(form.low, form.high, 1001)
    felt = np.abs(spline.phi(u, values, form) - u)
    assert np.argmax(felt) in (0, 1000)
    if form.interpolation == "piecewise":
        assert np.array_equal(felt > 1e-9, np.abs(u - knots[place]) < step * (1 - 1e-9))


def test_a_moved_grid_moves_what_was_learned() -> None:
    """Stretched and with its values stretched alike, phi is itself stretched."""
    for interpolation in ("piecewise", "soft"):
        narrow = Spline(5, -1.0, 1.0, interpolation)
        wide = replace(narrow, low=-3.0, high=3.0)
        u, values = np.linspace(-2, 2, 101), bent(narrow)
        np.testing.assert_allclose(
            spline.phi(3 * u, 3 * values, wide), 3 * spline.phi(u, values, narrow), atol=1e-12
        )
        assert np.abs(spline.phi(u, values, wide) - spline.phi(u, values, narrow)).max() > 0.1


def test_weights_are_an_interpolation(form: Spline) -> None:
    found = spline.weights(np.linspace(form.low, form.high, 501), form)
    np.testing.assert_allclose(found.sum(axis=1), 1.0, atol=1e-12)
    assert found.min() >= 0.0


def test_soft_as_a_weighted_mean_of_knots_is_off() -> None:
    """What started the predecessor away from the identity: sum w v, without the residual."""
    soft = Spline(interpolation="soft")
    inside = np.linspace(-3, 3, 601)
    mean = spline.weights(inside, soft) @ spline.knots(soft)
    off = np.abs(mean - inside)
    assert off.max() > 0.4 and np.median(off) > 0.03
    assert np.array_equal(spline.phi(inside, spline.knots(soft), soft), inside)
    outside = np.array([-300.0, 30.0])
    hard = spline.weights(np.clip(outside, -3, 3), Spline()) @ spline.knots(Spline())
    assert np.array_equal(hard, [-3.0, 3.0])  # and piecewise it squashed what lay outside


def test_slopes_are_the_differences_of_phi(form: Spline) -> None:
    values = bent(form)
    found = spline.slopes(values, form)
    assert found.shape == (form.knots - 1,)
    ends = spline.phi(spline.knots(form), values, form)
    np.testing.assert_allclose(found, (ends[1:] - ends[:-1]) / spline.spacing(form), rtol=1e-9)
    assert np.array_equal(spline.slopes(spline.knots(form), form), np.ones(form.knots - 1))


def test_linear_is_the_slope_where_there_is_one(form: Spline) -> None:
    knots = spline.knots(form)
    assert spline.linear(knots, form) == 1.0
    assert spline.linear(knots.astype(np.float32), form) == 1.0
    straight = spline.linear((1.37 * knots).astype(np.float32), form)
    if form.interpolation == "soft" or form.outside == "clamp":
        assert straight is None
        u = inputs(form, 3.0)
        moved = spline.phi(u, 1.37 * knots, form)
        assert np.abs(moved - 1.37 * u).max() > 0.01 * form.high  # None, and rightly
    else:
        assert straight == pytest.approx(1.37, rel=1e-6)
        u = inputs(form, 100.0)
        np.testing.assert_allclose(spline.phi(u, 1.37 * knots, form), 1.37 * u, rtol=1e-9)
        lifted = spline.linear(1.37 * knots + 0.5, form)
        assert lifted == pytest.approx(1.37, rel=1e-6)
    for place in range(form.knots):
        values = 1.37 * knots
        values[place] += 1e-3 * form.high
        assert spline.linear(values, form) is None


@pytest.mark.parametrize(
    "words",
    [
        {"knots": 2},
        {"low": 0.0},
        {"low": -3.0, "high": -1.0},
        {"knots": 4},
        {"low": -1.0, "high": 3.1},
    ],
    ids=str,
)
def test_a_grid_without_0_is_refused(words: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"on both sides of 0|is 0"):
        Spline(**words)  # type: ignore[arg-type]


def test_a_spline_is_lsloras_alone() -> None:
    with pytest.raises(ValueError, match="belongs to an adapter of kind lslora"):
        AdapterSpec(kind="lslora")
    with pytest.raises(ValueError, match="belongs to an adapter of kind lslora"):
        AdapterSpec(spline=Spline())
    with pytest.raises(ValueError, match="belongs to an adapter of kind lslora"):
        AdapterSpec(kind="dora", spline=Spline())


def test_values_and_scales_alone_have_a_rate_of_their_own() -> None:
    spec = AdapterSpec(kind="lslora", spline=Spline(rate=2.5))
    names = [*lora.shapes(spec, "a.b", 3, 4)]
    assert lora.rates(spec, names) == {
        "a.b.lora_A": (1.0, True),
        "a.b.lora_B": (1.0, True),
        "a.b.lora_spline_values": (2.5, False),
        "a.b.lora_spline_scales": (2.5, False),
    }
    dora = AdapterSpec(kind="dora")
    assert set(lora.rates(dora, lora.shapes(dora, "a", 3, 4)).values()) == {(1.0, True)}

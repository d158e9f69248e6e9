"""LS-LoRA's spline on MLX against NumPy's in float64: values, all gradients, and memory."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from backends import spline
from backends.contract import Spline
from backends.mlx import spline as module
from backends.mlx.framework import mx
from backends.mlx.spline import Curve, bent

FORMS = [
    Spline(knots=knots, low=low, high=high, interpolation=interpolation, outside=outside)
    for knots, low, high in ((5, -3.0, 3.0), (7, -2.0, 4.0))
    for interpolation in ("piecewise", "soft")
    for outside in ("linear", "clamp")
]
NAMES = [f"{one.knots}-{one.interpolation}-{one.outside}" for one in FORMS]
each_form = pytest.mark.parametrize("form", FORMS, ids=NAMES)
Wide = np.ndarray[Any, np.dtype[np.float64]]


def drawn(form: Spline, seed: int = 0) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Values that bend, and scales."""
    rng = np.random.default_rng(seed)
    values = spline.knots(form) + 0.6 * rng.standard_normal(form.knots)
    return values.astype(np.float32), np.array([0.8, 1.3], np.float32)


def oracle(z: Wide, values: Wide, scales: Wide, form: Spline) -> Wide:
    """Float64."""
    inner = np.float64(scales[0]) * np.asarray(z, np.float64)
    return np.float64(scales[1]) * spline.phi(inner, np.asarray(values, np.float64), form)


@each_form
def test_values_are_numpys(form: Spline) -> None:
    rng = np.random.default_rng(1)
    z = np.concatenate([rng.standard_normal(500), rng.uniform(-400, 400, 500), [0.0]])
    z = z.astype(np.float32).reshape(7, -1)
    values, scales = drawn(form)
    found = np.array(bent(mx.array(z), mx.array(values), mx.array(scales), form))
    # A few float32 operations, each relative to what it adds up.
    np.testing.assert_allclose(found, oracle(z, values, scales, form), rtol=2e-6, atol=3e-6)


@each_form
def test_it_begins_as_the_identity_to_the_last_bit(form: Spline) -> None:
    z = (300.0 * np.random.default_rng(2).standard_normal((40, 50))).astype(np.float32)
    knots, ones = spline.knots(form).astype(np.float32), np.ones(2, np.float32)
    found = bent(mx.array(z), mx.array(knots), mx.array(ones), form)
    assert mx.array_equal(found, mx.array(z))


@each_form
@pytest.mark.parametrize("shape", [(40, 64), (3, 11, 40)])
def test_gradients_are_those_of_float64_differences(form: Spline, shape: tuple[int, ...]) -> None:
    rng = np.random.default_rng(3)
    z = (3.0 * rng.standard_normal(shape)).astype(np.float32)
    weight = rng.standard_normal(shape).astype(np.float32)
    values, scales = drawn(form)

    def loss(z: mx.array, values: mx.array, scales: mx.array) -> mx.array:
        return (mx.array(weight) * bent(z, values, scales, form)).sum()

    found = mx.grad(loss, argnums=(0, 1, 2))(mx.array(z), mx.array(values), mx.array(scales))
    wide = z.astype(np.float64), values.astype(np.float64), scales.astype(np.float64)
    step = 1e-6

    def moved(which: int, by: Any) -> Wide:
        given = list(wide)
        given[which] = given[which] + by
        return weight * oracle(*given, form)

    to_z = (moved(0, step) - moved(0, -step)) / (2 * step)
    # float32 near a bend: a few units of rounding in u move nothing else.
    np.testing.assert_allclose(np.array(found[0]), to_z, rtol=1e-5, atol=1e-5)
    for which in (1, 2):
        wanted = [
            (moved(which, by).sum() - moved(which, -by).sum()) / (2 * step)
            for by in step * np.eye(len(wide[which]))
        ]
        # Two thousand float32 terms of size 3, summed row by row.
        np.testing.assert_allclose(np.array(found[which]), wanted, rtol=1e-5, atol=2e-3)


def test_a_bend_met_exactly_has_the_slope_of_the_piece_above() -> None:
    form = Spline()
    knots, values = spline.knots(form), spline.knots(form) + np.array([0.3, -0.2, 0.0, 0.5, 0.1])
    z = mx.array(knots.astype(np.float32))[None]
    held = mx.array(values.astype(np.float32)), mx.array(np.ones(2, np.float32))
    found = mx.grad(lambda z: bent(z, *held, form).sum())(z)
    slopes = spline.slopes(values, form)
    np.testing.assert_allclose(np.array(found)[0], [*slopes, slopes[-1]], rtol=1e-5)


@pytest.mark.parametrize("dtype", [mx.bfloat16, mx.float16])
@pytest.mark.parametrize("interpolation", ["piecewise", "soft"])
def test_lower_precisions_are_rounded_once(dtype: mx.Dtype, interpolation: Any) -> None:
    form = Spline(interpolation=interpolation)
    values, scales = (mx.array(array) for array in drawn(form))
    z = (4.0 * mx.random.normal((50, 60), key=mx.random.key(4))).astype(dtype)
    found = bent(z, values, scales, form)
    assert found.dtype == dtype
    wide = bent(z.astype(mx.float32), values, scales, form)
    assert mx.array_equal(found, wide.astype(dtype))

    def loss(z: mx.array, values: mx.array) -> mx.array:
        return bent(z, values, scales, form).astype(mx.float32).sum()

    to_z, to_values = mx.grad(loss, argnums=(0, 1))(z, values)
    assert (to_z.dtype, to_values.dtype) == (dtype, mx.float32)


@pytest.mark.parametrize("interpolation", ["piecewise", "soft"])
def test_neither_knots_nor_rows_are_held_all_at_once(
    interpolation: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """41 knots, 15 blocks: with each knot's part of z kept, the peak would be 41 times z and more,
    with all blocks begun at once 20 times. z's own gradient and the loss's are 4 of the 8."""
    form = Spline(knots=41, interpolation=interpolation)
    values, scales = (mx.array(array) for array in drawn(form))
    z = mx.random.normal((300, 300), key=mx.random.key(5))
    mx.eval(z, values, scales)

    def loss(z: mx.array, values: mx.array, scales: mx.array) -> mx.array:
        return mx.square(bent(z, values, scales, form)).sum()

    whole = mx.grad(loss, argnums=(0, 1, 2))(z, values, scales)
    mx.eval(whole)
    monkeypatch.setattr(module, "BLOCK", 6000)
    mx.clear_cache()
    mx.reset_peak_memory()
    before = mx.get_active_memory()
    parts = mx.grad(loss, argnums=(0, 1, 2))(z, values, scales)
    mx.eval(parts)
    assert mx.get_peak_memory() - before < 8 * z.nbytes
    for found, wanted in zip(parts, whole, strict=True):
        # 90,000 float32 terms of size 10, added up in another order.
        np.testing.assert_allclose(np.array(found), np.array(wanted), rtol=1e-5, atol=0.5)


def test_its_one_slope_is_told_where_it_has_one() -> None:
    form, scales = Spline(), mx.array(np.array([0.5, 3.0], np.float32))
    straight = (1.2 * spline.knots(form)).astype(np.float32)
    assert Curve(form, mx.array(straight), scales).slope() == pytest.approx(1.8, rel=1e-6)
    straight[-1] += 0.1
    assert Curve(form, mx.array(straight), scales).slope() is None

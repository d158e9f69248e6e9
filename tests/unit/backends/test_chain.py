"""Adapters closed into one, against dense float64."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest

from backends import lora, spline
from backends.chain import Layer, directions, norms, slopes, straight
from backends.contract import AdapterSpec, Spline
from backends.errors import AdapterError
from tests.kinds import BENT, dense, drawn, forward, rows

PATH = "layers.0.down_proj"
RNG = np.random.default_rng(0)
W0 = {PATH: RNG.standard_normal((11, 9)).astype(np.float32)}
LORA = drawn(W0, AdapterSpec(rank=3, alpha=6.0), 1)
DORA = drawn(W0, AdapterSpec(rank=2, alpha=3.0, scaling="rslora", kind="dora"), 2)
OTHER = drawn(W0, AdapterSpec(rank=4, alpha=4.0, kind="dora"), 3)
BRANCH = drawn(W0, AdapterSpec(rank=2, alpha=4.0, kind="lslora", spline=BENT), 4)
EXACT = 1e-14
"""Relative to the weights: sums of a dozen products in float64, 2e-16 apiece."""


@pytest.mark.parametrize("order", list(permutations((LORA, DORA, OTHER))))
def test_closed_in_any_order_as_the_dense_matrices_are(order: tuple[object, ...]) -> None:
    adapters = list(order)
    layer = Layer.of(PATH, adapters, rows(W0))  # type: ignore[arg-type]
    chain = layer.closed(adapters)  # type: ignore[arg-type]
    wanted = dense(PATH, W0[PATH], adapters)  # type: ignore[arg-type]
    found = chain.scaled[:, None] * W0[PATH] + chain.b @ chain.a
    assert np.abs(found - wanted).max() < EXACT * np.abs(wanted).max()
    # a sum of changes in another order is another model: DoRA does not commute
    reverse = dense(PATH, W0[PATH], adapters[::-1])  # type: ignore[arg-type]
    assert np.abs(reverse - wanted).max() > 1e-3


def test_branches_stay_outside_of_every_norm() -> None:
    adapters = [LORA, BRANCH, DORA]
    layer = Layer.of(PATH, adapters, rows(W0))
    chain = layer.closed(adapters)
    x = RNG.standard_normal((5, 9))
    (branch,) = chain.branches
    y = x @ (chain.scaled[:, None] * W0[PATH] + chain.b @ chain.a).T
    z = (x @ branch.a.T) @ branch.b.T
    y += branch.scales[1] * spline.phi(branch.scales[0] * z, branch.values, branch.spline)
    wanted = forward(PATH, W0[PATH], adapters, x)
    assert np.abs(y - wanted).max() < EXACT * np.abs(wanted).max() * 10
    assert chain.c is not None and np.array_equal(chain.c, layer.closed([LORA, DORA]).scaled)


def test_a_chain_is_one_dora_to_the_last_digits() -> None:
    """A, B from L/c and m = c ||W0 + L/c||, as a DoRA of its own in dense float64."""
    adapters = [DORA, LORA, OTHER]
    layer = Layer.of(PATH, adapters, rows(W0))
    b, m = layer.as_dora(layer.closed(adapters))
    turned = W0[PATH] + b @ layer.a
    one = (m / np.linalg.norm(turned, axis=1))[:, None] * turned
    wanted = dense(PATH, W0[PATH], adapters)
    # DESIGN's figure is 2e-15 of the weights; a few roundings of float64 in each number.
    assert np.abs(one - wanted).max() < 4e-15 * np.abs(wanted).max()
    # what PEFT's `cat` would do with the two: factors side by side, one of the magnitudes
    cat = W0[PATH] + sum(dense(PATH, 0 * W0[PATH], [as_lora(one)]) for one in adapters)
    stacked = (DORA[1][lora.name_m(PATH)] / np.linalg.norm(cat, axis=1))[:, None] * cat
    assert np.abs(stacked - wanted).max() > 1e-2


def as_lora(held: tuple[AdapterSpec, dict[str, np.ndarray]]) -> tuple[AdapterSpec, dict]:  # type: ignore[type-arg]
    spec, tensors = held
    return AdapterSpec(rank=spec.rank, alpha=spec.scale * spec.rank), tensors


def test_a_magnitude_of_zero_has_no_single_dora() -> None:
    spec, tensors = DORA
    m = tensors[lora.name_m(PATH)].copy()
    m[4] = 0.0
    odd = spec, {**tensors, lora.name_m(PATH): m}
    layer = Layer.of(PATH, [odd], rows(W0))
    with pytest.raises(AdapterError, match=r"row 4 of `layers\.0\.down_proj` has a magnitude of 0"):
        layer.as_dora(layer.closed([odd]))


@pytest.mark.parametrize("size", [1e-30, 1e-40])
def test_numbers_that_float32_does_not_hold_are_no_dora(size: float) -> None:
    """A row next to 0 under a later LoRA: B / c would be infinite in the adapter's file."""
    spec, tensors = DORA
    m = tensors[lora.name_m(PATH)].copy()
    m[4] = size
    a, b = lora.name_a(PATH), lora.name_b(PATH)
    later = LORA[0], {a: LORA[1][a], b: LORA[1][b] * np.float32(1e10)}
    adapters = [(spec, {**tensors, lora.name_m(PATH): m}), later]
    layer = Layer.of(PATH, adapters, rows(W0))
    with pytest.raises(
        AdapterError, match=r"row 4 of `layers\.0\.down_proj` is scaled by"
    ) as found:
        layer.as_dora(layer.closed(adapters))
    assert "--to merged" in found.value.hint
    layer.as_dora(layer.closed(adapters[:1]))  # nothing is added to the row: B / c is as it was


def test_a_row_of_zeros_stays_one() -> None:
    """As it does on both backends, whatever its magnitude; PEFT makes it no number."""
    empty = {PATH: W0[PATH].copy()}
    empty[PATH][3] = 0.0
    spec, tensors = DORA
    b = tensors[lora.name_b(PATH)].copy()
    b[3] = 0.0
    held = spec, {**tensors, lora.name_b(PATH): b}
    layer = Layer.of(PATH, [held, LORA], rows(empty))
    chain = layer.closed([held, LORA])
    found = chain.scaled[:, None] * empty[PATH] + chain.b @ chain.a
    rest = np.arange(len(found)) != 3
    with np.errstate(divide="ignore", invalid="ignore"):
        wanted = dense(PATH, empty[PATH], [held, LORA])
    assert np.abs(found - wanted)[rest].max() < EXACT * 10
    added = dense(PATH, 0 * empty[PATH], [LORA])[3]
    assert np.abs(found[3] - added).max() < EXACT * 10


def test_w0_is_asked_for_by_a_dora_alone() -> None:
    def never(path: str) -> object:
        raise AssertionError(path)

    layer = Layer.of(PATH, [LORA, BRANCH], never)  # type: ignore[arg-type]
    assert layer.closed([LORA, BRANCH]).c is None
    (size,) = norms([[([LORA], 1.0), ([], -1.0)]], never)  # type: ignore[arg-type]
    wanted = np.linalg.norm(dense(PATH, W0[PATH], [LORA]) - W0[PATH])
    assert size == pytest.approx(wanted, rel=1e-6)
    with pytest.raises(AssertionError):
        Layer.of(PATH, [LORA, DORA], never)  # type: ignore[arg-type]


def test_norms_of_sums_of_weights() -> None:
    sums = [
        [([LORA, DORA], 1.0), ([], -1.0)],
        [([LORA, DORA], 1.0), ([DORA, LORA], -1.0)],
        [([LORA, DORA], 1.0), ([LORA, DORA], -1.0)],
    ]
    found = norms(sums, rows(W0))
    for size, terms in zip(found[:2], sums, strict=False):
        total = sum(times * dense(PATH, W0[PATH], own) for own, times in terms)
        assert size == pytest.approx(float(np.linalg.norm(total)), rel=1e-12)
    assert found[2] == 0.0  # no cancellation leaves anything


def test_a_small_difference_of_two_dora_is_not_lost_to_cancellation() -> None:
    """Norms are sums of squares: differences of norms would end at 1e-8 of the weights."""
    spec, tensors = DORA
    near = {name: held.copy() for name, held in tensors.items()}
    near[lora.name_b(PATH)][2, 1] = np.nextafter(near[lora.name_b(PATH)][2, 1], np.float32(9))
    terms = [([DORA], 1.0), ([(spec, near)], -1.0)]
    (size,) = norms([terms], rows(W0))
    wanted = np.linalg.norm(dense(PATH, W0[PATH], [DORA]) - dense(PATH, W0[PATH], [(spec, near)]))
    assert 0 < size < 1e-6 and size == pytest.approx(float(wanted), rel=1e-6)


def test_a_basis_has_no_more_rows_than_its_factors_span() -> None:
    a = LORA[1][lora.name_a(PATH)]
    assert directions([a, 2 * a]).shape == (3, 9)
    assert directions([np.zeros_like(a)]).shape == (0, 9)
    assert directions([RNG.standard_normal((20, 9))]).shape == (9, 9)


def line(spec: Spline, slope: float) -> np.ndarray:
    """Values of a straight spline."""
    return (slope * spline.knots(spec)).astype(np.float32)


def test_an_ls_lora_is_a_lora_where_its_spline_is_straight() -> None:
    spec, tensors = BRANCH
    straightened = {**tensors, lora.name_v(PATH): line(BENT, 1.5)}
    made = straight((spec, straightened))
    assert made is not None and made[0].kind == "lora" and made[0].spline is None
    x = RNG.standard_normal((6, 9)) * 50  # far outside the grid
    wanted = forward(PATH, W0[PATH], [(spec, straightened)], x)
    assert np.abs(forward(PATH, W0[PATH], [made], x) - wanted).max() < 1e-5 * np.abs(wanted).max()
    assert straight(BRANCH) is None and slopes(BRANCH) == {PATH: None}
    assert straight(LORA) is LORA and slopes(LORA) == {}
    # the same values under `clamp` bend at the grid's ends
    clamped = AdapterSpec(rank=2, alpha=4.0, kind="lslora", spline=Spline(outside="clamp"))
    assert straight((clamped, straightened)) is None

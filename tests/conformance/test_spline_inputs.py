"""What a session says of the inputs of LS-LoRA's splines, counted as rows pass through."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from safetensors.numpy import load_file

from backends import lora, spline
from backends.contract import Batch, Session, Spline, SplineInputs
from tests.conformance.kinds import LORA, LSLORA, SOFT, put
from tests.tiny import part, random_batch

FIRST = "model.layers.0.self_attn.q_proj"
ROUNDING = 1e-4
"""Of a sum of float32 products: z itself is off by some 1e-6, its square twice as much, and its
product with a phi that bends by the slope of phi times that."""


@pytest.fixture
def open_one(
    kept: Callable[[str, str], Session], model_of: Callable[..., Path]
) -> Callable[[str], Session]:
    return lambda backend: kept(backend, "llama")


@pytest.fixture
def shared(open_one: Callable[[str], Session], backend: str) -> Any:
    """The file's session, bare again after each test."""
    session = open_one(backend)
    yield session
    for name in reversed(session.adapters.active()):
        session.adapters.unload(name)


def batch(seed: int = 3) -> Batch:
    return random_batch(np.random.default_rng(seed))


def first_inputs(folder: Path, given: Batch) -> NDArray[np.float64]:
    """What the first layer's q_proj is given for each real token, in float64: the embedding,
    normalised, times the norm's weight."""
    held = {name: array.astype(np.float64) for name, array in load_file(_weights(folder)).items()}
    x = held["model.embed_tokens.weight"][given.ids]
    scaled = x / np.sqrt(np.square(x).mean(axis=-1, keepdims=True) + 1e-6)
    real = np.arange(given.ids.shape[1]) < given.lengths[:, None]
    found: NDArray[np.float64] = scaled * held["model.layers.0.input_layernorm.weight"]
    return found[real]


def _weights(folder: Path) -> Path:
    return folder / "model.safetensors"


@pytest.mark.parametrize("form", [Spline(low=-0.3, high=0.3), SOFT], ids=["piecewise", "soft"])
def test_counts_and_sums_are_those_of_the_formula(
    shared: Session, model_of: Callable[..., Path], form: Spline
) -> None:
    """By NumPy in float64, over real tokens alone: padding would be some hundred more inputs."""
    spec, given = replace(LSLORA, spline=form), batch()
    params = put(shared, "bent", spec, seed=5, size=0.3)
    found = shared.spline_inputs(given)[FIRST]
    a, b = (params[name(FIRST)].astype(np.float64) for name in (lora.name_a, lora.name_b))
    before, after = params[lora.name_s(FIRST)].tolist()
    z = spec.scale * first_inputs(model_of("llama"), given) @ a.T @ b.T
    bent = after * spline.phi(before * z, params[lora.name_v(FIRST)], form)
    edges = [-np.inf, *spline.knots(form), np.inf]
    wanted, _ = np.histogram(before * z, edges)
    assert found.counts.sum() == z.size == int(given.lengths.sum()) * len(b)
    # An input may lie on the other side of a knot that it is within rounding of.
    assert np.abs(found.counts - wanted).max() <= 2
    assert min(wanted) > 0, "the grid has inputs on every piece and on either side"
    assert found.squares == pytest.approx(np.square(z).sum(), rel=ROUNDING)
    assert found.products == pytest.approx((z * bent).sum(), rel=ROUNDING)


def test_both_backends_count_the_same(open_one: Callable[[str], Session]) -> None:
    """In every layer, not the first alone."""
    given, found = batch(), []
    for backend in ("torch", "mlx"):
        session = open_one(backend)
        put(session, "bent", replace(LSLORA, spline=Spline(low=-0.3, high=0.3)), seed=5)
        found.append(session.spline_inputs(given))
        session.adapters.unload("bent")
    assert found[0].keys() == found[1].keys() and len(found[0]) == 14
    for path, one in found[0].items():
        other = found[1][path]
        assert np.abs(one.counts - other.counts).max() <= 2
        assert other.squares == pytest.approx(one.squares, rel=ROUNDING)
        assert other.products == pytest.approx(one.products, rel=ROUNDING)


def test_a_batch_is_the_sum_of_its_rows(shared: Session) -> None:
    put(shared, "bent", LSLORA, seed=5)
    given = batch()
    whole = shared.spline_inputs(given)[FIRST]
    halves = [shared.spline_inputs(part(given, rows))[FIRST] for rows in (slice(3), slice(3, 8))]
    added = halves[0] + halves[1]
    assert np.array_equal(added.counts, whole.counts)
    assert added.squares == pytest.approx(whole.squares, rel=1e-5)  # float32 sums in two parts


def test_counting_leaves_no_mark(shared: Session) -> None:
    """The same names, the same logits to the last bit, and the same base."""
    put(shared, "bent", LSLORA, seed=5)
    given = batch()
    logits, trained = shared.logits(given), shared.adapters.trainable()
    base = shared.adapters.base_fingerprint()
    first = shared.spline_inputs(given)
    assert np.array_equal(shared.logits(given), logits)
    assert shared.adapters.trainable() == trained
    assert shared.adapters.base_fingerprint() == base
    again = shared.spline_inputs(given)
    assert all(np.array_equal(again[path].counts, one.counts) for path, one in first.items())


def test_only_an_ls_lora_in_training_has_inputs(shared: Session) -> None:
    given = batch()
    assert shared.spline_inputs(given) == {}
    put(shared, "plain", LORA, seed=5)
    assert shared.spline_inputs(given) == {}
    shared.adapters.unload("plain")
    put(shared, "bent", replace(LSLORA, targets=("q_proj",)), seed=5)
    assert [path.endswith("q_proj") for path in shared.spline_inputs(given)] == [True, True]
    shared.adapters.freeze("bent")
    assert shared.spline_inputs(given) == {}


def test_a_line_by_least_squares() -> None:
    found = SplineInputs.counted(10, [8, 5, 1], squares=4.0, products=6.0)
    assert found.counts.tolist() == [2, 3, 4, 1]
    assert (found.outside, found.on_pieces(0, 1), found.slope) == (0.3, 0.7, 1.5)
    assert SplineInputs.counted(2, [0], squares=0.0, products=0.0).slope is None

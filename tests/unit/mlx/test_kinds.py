"""DoRA, LS-LoRA and the chain of frozen adapters on one layer, against dense float64."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from backends import lora, spline
from backends.contract import AdapterSpec, Spline
from backends.mlx import base_weight
from backends.mlx.attached import Attached, Factors, entries_of, leaves
from backends.mlx.chain import compose
from backends.mlx.dora import Ground
from backends.mlx.framework import mx, nn
from backends.mlx.layer import Draws, LoRALinear

OUT, IN = 12, 64
LORA = AdapterSpec(rank=3, alpha=6.0)
DORA = AdapterSpec(rank=4, alpha=6.0, kind="dora")
LSLORA = AdapterSpec(rank=5, alpha=4.0, kind="lslora", spline=Spline())
KINDS = {"lora": LORA, "dora": DORA, "lslora": LSLORA}
PASTS = [(), ("lora",), ("dora",), ("lora", "dora", "lslora", "dora", "lora"), ("lslora", "dora")]
Wide = np.ndarray[Any, np.dtype[np.float64]]
Tensors = dict[str, Wide]


def tensors_of(spec: AdapterSpec, seed: int) -> Tensors:
    """By the layer's own names, as if trained; float32 numbers in float64."""
    rng = np.random.default_rng(seed)
    found: Tensors = {
        "lora_A": rng.uniform(-0.125, 0.125, (spec.rank, IN)),
        "lora_B": 0.5 * rng.standard_normal((OUT, spec.rank)),
    }
    if spec.kind == "dora":
        found["lora_magnitude_vector"] = rng.uniform(0.5, 2.0, OUT)
    if spec.spline is not None:
        found["lora_spline_values"] = spline.knots(spec.spline) + 0.5 * rng.standard_normal(5)
        found["lora_spline_scales"] = np.array([1.2, 0.7])
    return {name: array.astype(np.float32).astype(np.float64) for name, array in found.items()}


def to_mlx(tensors: Tensors) -> Factors:
    return {name: mx.array(array.astype(np.float32)) for name, array in tensors.items()}


def attached(spec: AdapterSpec, tensors: Tensors) -> Attached:
    return Attached("one", spec, {f"x.{leaf}": array for leaf, array in to_mlx(tensors).items()})


def base(seed: int = 0, bias: bool = True) -> nn.Linear:
    rng = np.random.default_rng(seed)
    made = nn.Linear(IN, OUT, bias=bias)
    made.weight = mx.array((rng.standard_normal((OUT, IN)) / 8).astype(np.float32))
    if bias:
        made.bias = mx.array(rng.standard_normal(OUT).astype(np.float32))
    made.freeze()
    return made


def layer_over(
    linear: nn.Module,
    past: Sequence[tuple[AdapterSpec, Tensors]],
    trains: tuple[AdapterSpec, Tensors] | None,
    dtype: mx.Dtype = mx.float32,
) -> LoRALinear:
    """As the manager sets a layer up."""
    made = LoRALinear(linear, "x", Draws())
    held = [attached(*one) for one in past]
    squares = base_weight.squares(linear)
    chain = compose(entries_of(held, "x"), linear, lambda: squares)
    ground = None
    if trains is not None:
        made.train_with(trains[0], to_mlx(trains[1]))
        if trains[0].kind == "dora":
            parts = (None, None, None) if chain is None else (chain.c, chain.a, chain.b)
            ground = Ground.over(linear, squares, *parts)
    made.act(None if chain is None else chain.rounded(dtype), ground, trains is not None)
    return made


def dense(
    linear: nn.Module, held: Sequence[tuple[AdapterSpec, Tensors]], x: Wide, norms: Any = None
) -> Wide:
    """Float64, entry by entry over the whole weight; branches outside every norm. `norms`: what
    the last entry, a DoRA, divides by, where that is to be held still."""
    weight = np.array(base_weight.dense(linear), np.float64)
    beside = np.zeros((*x.shape[:-1], OUT))
    for place, (spec, own) in enumerate(held):
        delta = spec.scale * own["lora_B"] @ own["lora_A"]
        if spec.spline is not None:
            before, after = own["lora_spline_scales"]
            curve = spline.phi(before * (x @ delta.T), own["lora_spline_values"], spec.spline)
            beside = beside + after * curve
            continue
        weight = weight + delta
        if spec.kind == "dora":
            still = norms is not None and place == len(held) - 1
            by = norms if still else np.linalg.norm(weight, axis=1)
            weight = (own["lora_magnitude_vector"] / by)[:, None] * weight
    bias = np.array(linear.bias, np.float64) if "bias" in linear else 0.0
    return x @ weight.T + bias + beside


def drawn(kinds: Sequence[str]) -> list[tuple[AdapterSpec, Tensors]]:
    return [(KINDS[kind], tensors_of(KINDS[kind], 10 + at)) for at, kind in enumerate(kinds)]


def rows(count: int = 30, seed: int = 1) -> np.ndarray[Any, np.dtype[np.float32]]:
    return np.random.default_rng(seed).standard_normal((count, IN)).astype(np.float32)


# Sums of 64 float32 products of size 1, through up to five adapters.
CLOSE: dict[str, Any] = {"rtol": 1e-5, "atol": 1e-5}


@pytest.mark.parametrize("kinds", [past for past in PASTS if past])
@pytest.mark.parametrize("bias", [True, False])
def test_a_frozen_chain_is_the_dense_sum(kinds: Sequence[str], bias: bool) -> None:
    x, past, linear = rows(), drawn(kinds), base(bias=bias)
    found = layer_over(linear, past, None)(mx.array(x))
    np.testing.assert_allclose(np.array(found), dense(linear, past, x), **CLOSE)


def test_left_out_of_a_chain_means_worked_out_without() -> None:
    """A DoRA's m stays, and its norm is that of what is left below it."""
    x, linear = rows(), base()
    whole = drawn(("lora", "dora", "lora", "dora"))
    for gone in range(4):
        left = [one for place, one in enumerate(whole) if place != gone]
        found = layer_over(linear, left, None)(mx.array(x))
        np.testing.assert_allclose(np.array(found), dense(linear, left, x), **CLOSE)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("past", PASTS)
def test_what_trains_and_its_gradients(kind: str, past: Sequence[str]) -> None:
    """Every entry of every tensor, and of x, by float64 differences; a DoRA's norm held still, as
    its gradient takes it."""
    x, spec = rows(6, seed=2), KINDS[kind]
    below, own, linear = drawn(past), tensors_of(KINDS[kind], 3), base()
    made = layer_over(linear, below, (spec, own))
    weight = np.random.default_rng(4).standard_normal((6, OUT)).astype(np.float32)
    wide = x.astype(np.float64)
    np.testing.assert_allclose(
        np.array(made(mx.array(x))), dense(linear, [*below, (spec, own)], wide), **CLOSE
    )
    norms = None
    if kind == "dora":  # all that lies below, as a matrix
        blank = {**own, "lora_magnitude_vector": np.ones(OUT)}
        inside = [one for one in below if one[0].spline is None]
        bias = np.array(linear.bias, np.float64)
        total = dense(linear, [*inside, (spec, blank)], np.eye(IN), np.ones(OUT)) - bias
        norms = np.linalg.norm(total, axis=0)

    def loss(given: Tensors, x: Wide) -> float:
        return float((weight * dense(linear, [*below, (spec, given)], x, norms)).sum())

    to_tensors, to_x = gradients(made, x, weight)
    assert set(to_tensors) == set(leaves(spec))
    for name, values in own.items():
        wanted = differences(lambda moved, name=name: loss({**own, name: moved}, wide), values)
        np.testing.assert_allclose(np.array(to_tensors[name]), wanted, rtol=1e-4, atol=2e-5)
    wanted = differences(lambda moved: loss(own, moved), wide)
    np.testing.assert_allclose(np.array(to_x), wanted, rtol=1e-4, atol=2e-5)


def gradients(made: LoRALinear, x: Any, weight: Any) -> tuple[Factors, mx.array]:
    """Of sum(weight * layer(x)), as a learner takes them: through arrays put into the layer."""
    held = made.tensors()

    def loss(given: Factors, x: mx.array) -> mx.array:
        made.take(given)
        return (mx.array(weight) * made(x).astype(mx.float32)).sum()

    found = mx.grad(loss, argnums=(0, 1))(held, x if isinstance(x, mx.array) else mx.array(x))
    made.take(held)
    made.settle()
    return found


def differences(function: Any, at: Wide, step: float = 1e-6) -> Wide:
    found = np.zeros_like(at)
    for place in np.ndindex(at.shape):
        moved = np.zeros_like(at)
        moved[place] = step
        found[place] = (function(at + moved) - function(at - moved)) / (2 * step)
    return found


@pytest.mark.parametrize("bias", [True, False])
def test_dora_is_mlx_lms_where_nothing_is_quantized(bias: bool) -> None:
    linear, own, x = base(bias=bias), tensors_of(DORA, 5), rows()
    theirs = mlx_lms_dora().DoRALinear.from_base(linear, r=DORA.rank, dropout=0.0, scale=DORA.scale)
    theirs.lora_a, theirs.lora_b = (mx.array(own[f"lora_{f}"].T.astype(np.float32)) for f in "AB")
    np.testing.assert_allclose(np.array(theirs.m), norms_of(linear), rtol=1e-6)
    theirs.m = mx.array(own["lora_magnitude_vector"].astype(np.float32))
    made = layer_over(linear, (), (DORA, own))
    weight = np.random.default_rng(6).standard_normal((30, OUT)).astype(np.float32)
    np.testing.assert_allclose(np.array(made(mx.array(x))), np.array(theirs(mx.array(x))), **CLOSE)

    def loss(a: mx.array, b: mx.array, m: mx.array) -> mx.array:
        theirs.lora_a, theirs.lora_b, theirs.m = a, b, m
        return (mx.array(weight) * theirs(mx.array(x))).sum()

    wanted = mx.grad(loss, argnums=(0, 1, 2))(theirs.lora_a, theirs.lora_b, theirs.m)
    found, _ = gradients(made, x, weight)
    for name, array in zip(("lora_A", "lora_B", "lora_magnitude_vector"), wanted, strict=True):
        # The norm is worked out another way: 30 rows of float32 terms of size 1.
        np.testing.assert_allclose(np.array(found[name]), np.array(array.T), rtol=1e-4, atol=1e-4)


def mlx_lms_dora() -> Any:
    """The one file of mlx-lm: all of it takes seconds to import."""
    package = importlib.util.find_spec("mlx_lm")
    assert package is not None and package.submodule_search_locations is not None
    file = Path(package.submodule_search_locations[0]) / "tuner" / "dora.py"
    spec = importlib.util.spec_from_file_location("dora_of_mlx_lm", file)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def norms_of(linear: nn.Module) -> Wide:
    weight: Wide = np.array(base_weight.dense(linear), np.float64)
    return np.linalg.norm(weight, axis=1)


@pytest.mark.parametrize("past", [(), ("lora", "dora", "lslora")])
def test_dora_with_dropout_is_pefts_formula(past: Sequence[str]) -> None:
    """P x + b + (g - 1) P d + g z(d) with d = dropout(x): the base sees both."""
    spec = AdapterSpec(rank=4, alpha=6.0, kind="dora", dropout=0.25)
    linear, below, own, x = base(), drawn(past), tensors_of(spec, 7), rows()
    made = layer_over(linear, below, (spec, own))
    made._draws.active = True
    dropped = np.array(made._dropped(mx.array(x), spec), np.float64)
    assert (dropped == 0).any() and not np.array_equal(dropped, x)
    inside = [one for one in below if one[0].spline is None]
    bias = np.array(linear.bias, np.float64)
    matrix = (dense(linear, inside, np.eye(IN)) - bias).T
    delta = spec.scale * own["lora_B"] @ own["lora_A"]
    gain = own["lora_magnitude_vector"] / np.linalg.norm(matrix + delta, axis=1)
    wanted = dense(linear, below, x.astype(np.float64))
    wanted = wanted + (gain - 1) * (dropped @ matrix.T) + gain * (dropped @ delta.T)
    np.testing.assert_allclose(np.array(made(mx.array(x))), wanted, **CLOSE)


@pytest.mark.parametrize("kind", KINDS)
def test_a_fresh_adapter_changes_no_bit(kind: str) -> None:
    x, spec, linear = mx.array(rows()), KINDS[kind], base()
    below = drawn(("lora", "dora", "lslora"))
    bare = layer_over(linear, below, None)
    past = [attached(*one) for one in below]
    squares = base_weight.squares(linear)
    chain = compose(entries_of(past, "x"), linear, lambda: squares)
    assert chain is not None
    norms = Ground.over(linear, squares, chain.c, chain.a, chain.b).norms()
    fresh = lora.initial(spec, "x", OUT, IN, np.array(norms))
    own = {name.removeprefix("x."): array.astype(np.float64) for name, array in fresh.items()}
    made = layer_over(linear, below, (spec, own))
    assert mx.array_equal(made(x), bare(x))
    held = made.tensors()
    made.take({name: mx.array(array) for name, array in held.items()})  # other arrays: worked out
    assert mx.array_equal(made(x), bare(x))


def test_a_row_of_zeros_stays_one() -> None:
    linear = base(bias=False)
    linear.weight = mx.concatenate([mx.zeros((1, IN)), linear.weight[1:]])
    squares = base_weight.squares(linear)
    norms = np.array(Ground.over(linear, squares, None, None, None).norms())
    fresh = lora.initial(DORA, "x", OUT, IN, norms)
    own = {name.removeprefix("x."): array.astype(np.float64) for name, array in fresh.items()}
    made = layer_over(linear, (), (DORA, own))
    x = mx.array(rows())
    assert mx.array_equal(made(x), linear(x))
    found, _ = gradients(made, x, np.ones((30, OUT), np.float32))
    assert all(np.isfinite(np.array(array)).all() for array in found.values())


def test_norms_follow_what_trains_and_keep_nothing_of_a_gradient() -> None:
    x, own, linear = mx.array(rows()), tensors_of(DORA, 8), base()
    made = layer_over(linear, (), (DORA, own))
    first = made(x)
    kept = made._norms
    gradients(made, x, np.ones((30, OUT), np.float32))
    assert made._norms is kept  # worked out once between two steps
    grown = {**own, "lora_B": 3.0 * own["lora_B"]}
    made.take(to_mlx(grown))
    for _ in range(2):  # before it comes to rest, and after
        np.testing.assert_allclose(
            np.array(made(x)), dense(linear, [(DORA, grown)], rows().astype(np.float64)), **CLOSE
        )
        made.settle()
    made.take(to_mlx(own))
    made.settle()
    assert mx.array_equal(made(x), first)


@pytest.mark.parametrize("dtype", [mx.bfloat16, mx.float16])
def test_magnitudes_are_summed_in_float32(dtype: mx.Dtype) -> None:
    """Over 4,000 tokens that all pull one way: summed in bfloat16 it would stand still at 256."""
    linear, own = base(bias=False), tensors_of(DORA, 9)
    linear.set_dtype(dtype)
    x = np.abs(rows(4000)) / 2
    made = layer_over(linear, (), (DORA, own), dtype)
    weight = np.ones((4000, OUT), np.float32)
    found, _ = gradients(made, mx.array(x).astype(dtype), weight)
    assert {array.dtype for array in found.values()} == {mx.float32}
    rounded = np.array(mx.array(x).astype(dtype).astype(mx.float32), np.float64)
    wanted = (dense(linear, [(DORA, own)], rounded) / own["lora_magnitude_vector"]).sum(axis=0)
    size = np.abs(wanted).max()
    assert size > 1000
    # Activations are rounded to 8 bits (bfloat16) each, their errors are independent.
    assert np.abs(np.array(found["lora_magnitude_vector"]) - wanted).max() < 1e-2 * size


def test_next_to_one_a_gain_is_not_lost_in_bfloat16() -> None:
    """1.003 is 1 in bfloat16; what it adds to the output is rounded where that is, up or not."""
    linear = base(bias=False)
    linear.set_dtype(mx.bfloat16)
    squares = base_weight.squares(linear)
    norms = np.array(Ground.over(linear, squares, None, None, None).norms())
    own = tensors_of(DORA, 11) | {"lora_B": np.zeros((OUT, DORA.rank))}
    own["lora_magnitude_vector"] = (1.003 * norms).astype(np.float32).astype(np.float64)
    made = layer_over(linear, (), (DORA, own), mx.bfloat16)
    x = mx.array(rows(4000)).astype(mx.bfloat16)
    still, moved = linear(x).astype(mx.float32), made(x).astype(mx.float32)
    by = np.array((still * moved).sum() / mx.square(still).sum()).item() - 1.0
    assert by == pytest.approx(3e-3, rel=0.5)


@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize("kind", KINDS)
def test_over_a_quantized_base(kind: str, bits: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """As over the plain weight that it stands for, and no forward or gradient unpacks it."""
    packed = nn.QuantizedLinear.from_linear(base(), group_size=32, bits=bits)
    plain = base()
    plain.weight = base_weight.dense(packed)
    spec, below, x = KINDS[kind], drawn(("lora", "dora", "lslora")), rows()
    own = tensors_of(spec, 12)
    theirs = layer_over(plain, below, (spec, own))
    made = layer_over(packed, below, (spec, own))
    weight = np.random.default_rng(13).standard_normal((30, OUT)).astype(np.float32)
    wanted, (wanted_tensors, wanted_x) = theirs(mx.array(x)), gradients(theirs, x, weight)

    def unpacked(*given: Any, **more: Any) -> Any:
        raise AssertionError("the weight was unpacked")

    for name in ("dense", "rows_of"):
        monkeypatch.setattr(base_weight, name, unpacked)
    monkeypatch.setattr(mx, "dequantize", unpacked)
    found, (tensors, to_x) = made(mx.array(x)), gradients(made, x, weight)
    np.testing.assert_allclose(np.array(found), np.array(wanted), **CLOSE)
    np.testing.assert_allclose(np.array(to_x), np.array(wanted_x), rtol=1e-4, atol=2e-5)
    for name, array in wanted_tensors.items():
        # 30 rows of float32 terms of size 1, from another product.
        np.testing.assert_allclose(np.array(tensors[name]), np.array(array), rtol=1e-4, atol=1e-4)

"""DoRA and LS-LoRA over a whole tiny model: the manager, the learner, checkpoints and merges."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from backends import lora, spline
from backends.contract import AdapterSpec, ModelSpec, Objective, OptimizerSpec, Params, Spline
from backends.errors import MergeRefused
from backends.mlx import base_weight
from backends.mlx.framework import mx
from backends.mlx.session import MlxSession
from tests.tiny import make_model, part, preference_batch, random_batch, window_of, with_reference

LORA = AdapterSpec(rank=4, alpha=8.0, seed=7)
DORA = AdapterSpec(rank=4, alpha=8.0, seed=7, kind="dora")
LSLORA = AdapterSpec(rank=4, alpha=8.0, seed=7, kind="lslora", spline=Spline(rate=3.0))
KINDS = {"lora": LORA, "dora": DORA, "lslora": LSLORA}
TWO = ("q_proj", "down_proj")
each_kind = pytest.mark.parametrize("spec", KINDS.values(), ids=KINDS)
SFT = Objective("sft")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model(tmp_path_factory.mktemp("tiny"), "qwen2")  # it has biases


@pytest.fixture
def session(folder: Path) -> Iterator[MlxSession]:
    opened = MlxSession(ModelSpec(str(folder), dtype="float32", device="cpu"))
    yield opened
    opened.close()


def shaken(params: Params, seed: int, size: float = 0.05) -> Params:
    """As if trained: every tensor moved, relative to its own size where it has one."""
    rng = np.random.default_rng(seed)
    found = {}
    for name, array in params.items():
        by = size * rng.standard_normal(array.shape).astype(np.float32)
        found[name] = array * (1 + by) if name.endswith("_magnitude_vector") else array + by
    return found


def attach(session: MlxSession, name: str, spec: AdapterSpec, seed: int) -> None:
    session.adapters.add(spec, name)
    learner = session.learner(SFT, OptimizerSpec())
    learner.assign(shaken(session.adapters.parameters(), seed))


def stack(session: MlxSession, *kinds: str) -> None:
    for place, kind in enumerate(kinds):
        attach(session, f"past-{place}", KINDS[kind], seed=20 + place)
        session.adapters.freeze(f"past-{place}")


def batch() -> Any:
    return random_batch(np.random.default_rng(1))


@each_kind
def test_names_shapes_and_the_base(session: MlxSession, spec: AdapterSpec) -> None:
    prints, logits = session.adapters.base_fingerprint(), session.logits(batch())
    session.adapters.add(spec, "topic")
    assert np.array_equal(session.logits(batch()), logits)
    wanted: dict[str, tuple[int, ...]] = {}
    for path, linear in session._adapters._linears.items():
        wanted |= lora.shapes(spec, path, *base_weight.sizes(linear))
    assert session.adapters.trainable() == wanted
    parameters = session.adapters.parameters()
    assert {name: array.shape for name, array in parameters.items()} == wanted
    assert session.adapters.base_fingerprint() == prints
    session.learner(SFT, OptimizerSpec()).assign(shaken(parameters, 2))
    assert not np.array_equal(session.logits(batch()), logits)
    assert session.adapters.base_fingerprint() == prints
    session.adapters.unload("topic")
    assert session.adapters.trainable() == {}
    assert np.array_equal(session.logits(batch()), logits)


@each_kind
def test_a_fresh_adapter_over_a_mixed_past_changes_no_bit(
    session: MlxSession, spec: AdapterSpec
) -> None:
    stack(session, "dora", "lslora", "lora", "dora")
    before = session.logits(batch())
    session.adapters.add(spec, "topic")
    assert np.array_equal(session.logits(batch()), before)


@each_kind
def test_frozen_it_acts_as_it_trained(session: MlxSession, spec: AdapterSpec) -> None:
    stack(session, "dora", "lslora")
    past = session.logits(batch())
    attach(session, "topic", spec, seed=3)
    trained = session.logits(batch())
    session.adapters.freeze("topic")
    frozen = session.logits(batch())
    # The scale is folded into B and DoRA's gain into c: float32, logits of about 5.
    assert np.abs(frozen - trained).max() < 2e-5
    assert np.abs(trained - past).max() > 1e-2
    with session.adapters.using(["past-0", "past-1"]):
        assert np.array_equal(session.logits(batch()), past)
    assert np.array_equal(session.logits(batch()), frozen)


@each_kind
def test_a_snapshot_comes_back_to_the_bit(session: MlxSession, spec: AdapterSpec) -> None:
    stack(session, "dora")
    attach(session, "topic", spec, seed=4)
    state, logits = session.adapters.snapshot(), session.logits(batch())
    learner = session.learner(SFT, OptimizerSpec())
    other = shaken(session.adapters.parameters(), 5)
    learner.assign(other)
    moved = session.logits(batch())
    session.adapters.restore(state)
    assert np.array_equal(session.logits(batch()), logits)
    learner.assign(other)  # still the learner of what trains, over norms that were worked out anew
    assert np.array_equal(session.logits(batch()), moved)
    session.adapters.unload("topic")
    session.adapters.unload("past-0")
    session.adapters.restore(state)
    assert session.adapters.active() == ("past-0", "topic")
    assert np.array_equal(session.logits(batch()), logits)


@each_kind
def test_checkpointing_gives_the_same_gradients(session: MlxSession, spec: AdapterSpec) -> None:
    stack(session, "lora", "dora")
    attach(session, "topic", spec, seed=6)
    rows = batch()
    plain, again = (
        session.learner(SFT, OptimizerSpec(), checkpointing=on).gradients(rows, window_of(rows))
        for on in (False, True)
    )
    assert plain[0] == again[0]
    for name, wanted in plain[1].items():
        assert np.abs(wanted).max() > 0, name
        np.testing.assert_allclose(again[1][name], wanted, rtol=1e-5, atol=1e-7)


def test_a_dora_is_worked_out_once_between_steps(
    session: MlxSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Decoding asks for every token; the products with base weights must not come with each."""
    attach(session, "topic", DORA, seed=8)
    counted = []
    real = base_weight.times

    def counting(linear: Any, a: mx.array) -> mx.array:
        counted.append(1)
        return real(linear, a)

    monkeypatch.setattr(base_weight, "times", counting)
    session.logits(batch())
    session.logits(batch())
    assert not counted
    rows = batch()
    session.learner(SFT, OptimizerSpec()).gradients(rows, window_of(rows))
    assert len(counted) == len(session._adapters._linears)


def test_the_penalty_is_added_by_the_batchs_share(session: MlxSession) -> None:
    made = replace(Spline(), penalty=4.0)
    attach(session, "topic", replace(LSLORA, spline=made, targets=TWO), seed=9)
    rows, knots = batch(), spline.knots(made)
    params = session.adapters.parameters()
    moved = {n: p - knots for n, p in params.items() if n.endswith("lora_spline_values")}
    whole = 4.0 * float(np.mean([np.square(one).mean() for one in moved.values()]))
    learner = session.learner(SFT, OptimizerSpec())
    halves = [part(rows, slice(0, 3)), part(rows, slice(3, 8))]
    told = [learner.accumulate(one, window_of(rows)) for one in halves]
    shares = [float(one.mask.sum() / rows.mask.sum()) for one in halves]
    for one, share in zip(told, shares, strict=True):
        assert one.penalty == pytest.approx(share * whole, rel=1e-5)
    loss, gradient = learner.gradients(rows, window_of(rows))
    sums = sum(one.loss for one in told) + sum(one.penalty for one in told)
    assert loss == pytest.approx(sums, rel=1e-6)
    session.adapters.unload("topic")
    free = replace(LSLORA, spline=replace(made, penalty=0.0), targets=TWO)
    session.adapters.add(free, "topic")
    learner = session.learner(SFT, OptimizerSpec())
    learner.assign(params)
    bare, without = learner.gradients(rows, window_of(rows))
    assert bare == pytest.approx(loss - whole, rel=1e-5)
    assert bare == pytest.approx(sum(one.loss for one in told), rel=1e-6)
    count = sum(one.size for one in moved.values())
    for name, array in gradient.items():
        pull = 2.0 * 4.0 * moved[name] / count if name in moved else 0.0
        np.testing.assert_allclose(array - without[name], pull, rtol=1e-4, atol=1e-6)


def test_pairs_share_the_penalty_by_their_number(session: MlxSession) -> None:
    attach(session, "topic", replace(LSLORA, targets=TWO), seed=10)
    pairs = with_reference(preference_batch(np.random.default_rng(2)), session)
    learner = session.learner(Objective("dpo"), OptimizerSpec())
    found = learner.accumulate(pairs, window_of(pairs))
    half = learner.accumulate(pairs, replace(window_of(pairs), pairs=8))
    assert found.loss == pytest.approx(np.log(2), abs=1e-6)
    assert found.penalty > 0
    assert half.penalty == pytest.approx(found.penalty / 2, rel=1e-6)


def test_values_and_scales_have_their_own_rate_and_no_decay(session: MlxSession) -> None:
    """Loshchilov and Hutter 2019 in float64: 3 times the rate for them, decay for the factors."""
    attach(session, "topic", replace(LSLORA, targets=TWO), seed=11)
    learner = session.learner(SFT, OptimizerSpec(weight_decay=0.1))
    params = {n: a.astype(np.float64) for n, a in session.adapters.parameters().items()}
    m = {name: np.zeros_like(a) for name, a in params.items()}
    v = {name: np.zeros_like(a) for name, a in params.items()}
    rng = np.random.default_rng(12)
    for step in (1, 2, 3):
        gradient = {n: rng.standard_normal(a.shape).astype(np.float32) for n, a in params.items()}
        learner.add_gradients(gradient)
        learner.apply(1e-2, None)
        for name, g in gradient.items():
            own = name.endswith(("values", "scales"))
            rate = 3e-2 if own else 1e-2
            m[name] = 0.9 * m[name] + 0.1 * g
            v[name] = 0.999 * v[name] + 0.001 * np.square(g.astype(np.float64))
            way = (m[name] / (1 - 0.9**step)) / (np.sqrt(v[name] / (1 - 0.999**step)) + 1e-8)
            params[name] = params[name] * (1.0 if own else 1 - rate * 0.1) - rate * way
    for name, found in session.adapters.parameters().items():
        # Three float32 steps of at most 3e-2 on values of size 3.
        assert np.abs(found - params[name]).max() < 2e-6


def test_a_merge_folds_the_chain_and_a_later_one_goes_on(session: MlxSession) -> None:
    stack(session, "lora", "dora")
    straight = replace(LSLORA, targets=TWO)
    attach(session, "line", straight, seed=13)
    params = session.adapters.parameters()
    for name in params:
        if name.endswith("values"):
            params[name] = (1.3 * spline.knots(Spline())).astype(np.float32)
    session.learner(SFT, OptimizerSpec()).assign(params)
    session.adapters.freeze("line")
    attach(session, "topic", DORA, seed=14)
    exact = session.logits(batch())
    report = session.adapters.merge_and_unload()
    assert report.lost < 1e-4  # float32 weights, rounded once
    assert np.abs(session.logits(batch()) - exact).max() < 1e-4  # logits of about 5
    assert session.adapters.active() == ()
    attach(session, "next", DORA, seed=15)
    exact = session.logits(batch())
    session.adapters.merge_and_unload()  # finds the weights as the first merge made them
    assert np.abs(session.logits(batch()) - exact).max() < 1e-4


def test_what_bends_is_not_merged(session: MlxSession) -> None:
    stack(session, "dora")
    attach(session, "topic", replace(LSLORA, targets=TWO), seed=16)
    before, prints = session.logits(batch()), session.adapters.base_fingerprint()
    with pytest.raises(MergeRefused, match="bends") as refused:
        session.adapters.merge_and_unload()
    assert "stack" in refused.value.hint
    assert session.adapters.active() == ("past-0", "topic")
    assert np.array_equal(session.logits(batch()), before)
    assert session.adapters.base_fingerprint() == prints


@each_kind
def test_lower_precision_trains_and_keeps_float32_masters(folder: Path, spec: AdapterSpec) -> None:
    opened = MlxSession(ModelSpec(str(folder), dtype="bfloat16", device="cpu"))
    stack(opened, "dora", "lslora")
    opened.adapters.add(spec, "topic")
    learner, rows = opened.learner(SFT, OptimizerSpec()), batch()
    losses = []
    for _ in range(6):
        losses.append(learner.accumulate(rows, window_of(rows)).loss)
        learner.apply(1e-2, 1.0)
    assert losses[-1] < losses[0]
    assert {array.dtype for array in opened._adapters.arrays().values()} == {mx.float32}
    opened.close()

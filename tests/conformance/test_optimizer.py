"""The step itself: AdamW, clipping, what is dropped, and a state that resumes bit for bit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from backends.contract import AdapterSpec, Batch, Learner, Objective, OptimizerSpec, Params, Session
from backends.errors import AdapterError
from tests.conformance.conftest import OpenSession
from tests.conformance.trained import SPEC, attach, train
from tests.tiny import preference_batch, random_batch, window_of, with_reference

SFT = Objective("sft")
DROPPING = AdapterSpec(rank=4, alpha=8.0, dropout=0.2, seed=3)


@pytest.mark.parametrize("family", ["llama"])
@pytest.mark.parametrize("limit", [None, 0.5])
def test_adamw_is_the_textbook_one(session: Session, limit: float | None) -> None:
    """Loshchilov and Hutter 2019, with bias correction, written out in float64."""
    attach(session, "topic", seed=61)
    spec = OptimizerSpec(betas=(0.8, 0.95), eps=1e-6, weight_decay=0.1)
    learner = session.learner(SFT, spec)
    params = {n: a.astype(np.float64) for n, a in session.adapters.parameters().items()}
    m = {name: np.zeros_like(a) for name, a in params.items()}
    v = {name: np.zeros_like(a) for name, a in params.items()}
    rng = np.random.default_rng(62)
    for step, rate in enumerate((1e-2, 3e-3, 0.0, 1e-2), start=1):
        gradient = {n: rng.standard_normal(a.shape).astype(np.float32) for n, a in params.items()}
        learner.add_gradients(gradient)
        norm = sum(float(np.square(g.astype(np.float64)).sum()) for g in gradient.values()) ** 0.5
        assert abs(learner.apply(rate, limit) - norm) < 1e-5 * norm
        shrink = 1.0 if limit is None else min(1.0, limit / (norm + 1e-6))
        for name, g in gradient.items():
            m[name] = 0.8 * m[name] + 0.2 * shrink * g
            v[name] = 0.95 * v[name] + 0.05 * np.square(shrink * g.astype(np.float64))
            bias_m, bias_v = 1 - 0.8**step, 1 - 0.95**step
            direction = (m[name] / bias_m) / (np.sqrt(v[name] / bias_v) + 1e-6)
            params[name] = params[name] * (1 - rate * 0.1) - rate * direction
    found = session.adapters.parameters()
    for name, oracle in params.items():
        # four float32 steps of at most 1e-2 on values below 1
        assert np.abs(found[name] - oracle).max() < 1e-6


@pytest.mark.parametrize("spec", [SPEC, DROPPING], ids=["plain", "dropout"])
def test_a_resumed_learner_is_the_uninterrupted_one(
    open_session: OpenSession, backend: str, folder: Path, tmp_path: Path, spec: AdapterSpec
) -> None:
    """5 steps, save, open afresh, load, 5 steps == 10 steps, bit for bit."""
    batches = [random_batch(np.random.default_rng(70 + index)) for index in range(10)]
    whole = open_session(backend, folder)
    whole.adapters.add(spec, "topic")
    learner = whole.learner(SFT, OptimizerSpec())
    _steps(learner, batches[:5])
    whole.adapters.save(tmp_path)
    np.savez(tmp_path / "state.npz", **learner.state())
    losses = _steps(learner, batches[5:])

    resumed = open_session(backend, folder)
    resumed.adapters.load(tmp_path, "topic")
    learner = resumed.learner(SFT, OptimizerSpec())
    with np.load(tmp_path / "state.npz") as stored:
        learner.load_state({name: stored[name] for name in stored.files})
    assert _steps(learner, batches[5:]) == losses
    assert same(resumed.adapters.parameters(), whole.adapters.parameters())


@pytest.mark.parametrize("family", ["mistral"])
def test_dropout_acts_in_training_alone(session: Session) -> None:
    session.adapters.add(DROPPING, "topic")
    batch = random_batch(np.random.default_rng(63))
    learner = session.learner(SFT, OptimizerSpec())
    _steps(learner, [batch] * 3)
    logits = session.logits(batch)
    first, second = (learner.accumulate(batch, window_of(batch)).loss for _ in range(2))
    assert first != second  # two draws
    assert np.array_equal(session.logits(batch), logits)
    fixed = [learner.gradients(batch, window_of(batch))[0] for _ in range(2)]
    assert fixed[0] == fixed[1]  # asking for gradients moves no random state


@pytest.mark.parametrize("family", ["llama"])
def test_a_gradient_that_is_not_finite_steps_nothing(session: Session) -> None:
    batch = attach(session, "topic", seed=64)
    learner = session.learner(SFT, OptimizerSpec())
    _steps(learner, [batch])
    before, state = session.adapters.parameters(), learner.state()
    poisoned = {name: np.zeros_like(values) for name, values in before.items()}
    next(iter(poisoned.values()))[0, 0] = np.nan
    learner.accumulate(batch, window_of(batch))
    learner.add_gradients(poisoned)
    assert not np.isfinite(learner.apply(1e-2, 1.0))
    assert same(session.adapters.parameters(), before)
    kept = [name for name in state if name != "rng"]  # the stream of dropout may have moved on
    assert all(np.array_equal(learner.state()[name], state[name]) for name in kept)
    # the gradient was dropped: the next step is as if the poisoned one had never been
    clean = session.learner(SFT, OptimizerSpec())
    clean.load_state(state)
    clean.accumulate(batch, window_of(batch))
    clean.apply(1e-2, 1.0)
    wanted = session.adapters.parameters()
    learner.assign(before)
    learner.accumulate(batch, window_of(batch))
    learner.apply(1e-2, 1.0)
    assert same(session.adapters.parameters(), wanted)


@pytest.mark.parametrize("family", ["phi3"])
def test_discard_and_added_gradients(session: Session) -> None:
    batch = attach(session, "topic", seed=65)
    learner = session.learner(SFT, OptimizerSpec())
    _, gradient = learner.gradients(batch, window_of(batch))
    norm = _norm(gradient)
    learner.accumulate(batch, window_of(batch))
    learner.discard()
    learner.add_gradients(gradient)
    learner.add_gradients(gradient)
    assert abs(learner.apply(0.0, None) - 2 * norm) < 1e-5 * norm  # float32 norm


@pytest.mark.parametrize("family", ["qwen3"])
def test_names_must_be_exactly_the_trainable_ones(session: Session) -> None:
    batch = attach(session, "topic", seed=66)
    learner = session.learner(SFT, OptimizerSpec())
    _steps(learner, [batch])
    params, state = session.adapters.parameters(), learner.state()
    name = next(iter(params))
    for wrong in (
        {n: a for n, a in params.items() if n != name},
        {**params, "extra": params[name]},
    ):
        with pytest.raises(AdapterError):
            learner.assign(wrong)
        with pytest.raises(AdapterError):
            learner.add_gradients(wrong)
    with pytest.raises(AdapterError):
        learner.load_state({n: a for n, a in state.items() if n != f"m.{name}"})
    with pytest.raises(AdapterError):
        learner.load_state({**state, "v.extra": state[f"v.{name}"]})
    assert int(state["step"]) == 1


def _steps(learner: Learner, batches: list[Batch]) -> list[float]:
    losses = []
    for batch in batches:
        losses.append(learner.accumulate(batch, window_of(batch)).loss)
        learner.apply(1e-2, 1.0)
    return losses


def same(found: Params, wanted: Params) -> bool:
    return found.keys() == wanted.keys() and all(
        np.array_equal(found[name], wanted[name]) for name in wanted
    )


def _norm(tensors: Params) -> float:
    return float(sum(np.square(t.astype(np.float64)).sum() for t in tensors.values()) ** 0.5)


@pytest.mark.parametrize("family", ["llama"])
def test_dropout_is_off_in_dpo(session: Session) -> None:
    """With dropout the policy would not start as its reference: margin 0 holds without it."""
    session.adapters.add(DROPPING, "topic")
    train(session, random_batch(np.random.default_rng(81)))
    pairs = with_reference(preference_batch(np.random.default_rng(82)), session)
    learner = session.learner(Objective("dpo"), OptimizerSpec(seed=5))
    stats = learner.accumulate(pairs, window_of(pairs))
    assert abs(stats.margin) < 1e-4  # float32 sums over two batch shapes


@pytest.mark.parametrize("family", ["llama"])
def test_dropout_is_off_on_what_was_just_loaded(session: Session, tmp_path: Path) -> None:
    """As after a resume, or a rollback: nothing has trained yet."""
    session.adapters.add(DROPPING, "topic")
    batch = random_batch(np.random.default_rng(81))
    train(session, batch)
    logits = session.logits(batch)
    session.adapters.save(tmp_path)
    session.adapters.unload("topic")
    session.adapters.load(tmp_path, "topic")
    assert np.array_equal(session.logits(batch), logits)
    pairs = with_reference(preference_batch(np.random.default_rng(82)), session)
    learner = session.learner(Objective("dpo"), OptimizerSpec())
    assert abs(learner.accumulate(pairs, window_of(pairs)).margin) < 1e-4  # as above


@pytest.mark.parametrize("family", ["llama"])
def test_the_seed_of_the_stage_moves_dropout(
    open_session: OpenSession, backend: str, folder: Path
) -> None:
    batch = random_batch(np.random.default_rng(83))
    losses = []
    for seed in (1, 1, 2):
        session = open_session(backend, folder)
        session.adapters.add(DROPPING, "topic")
        learner = session.learner(SFT, OptimizerSpec(seed=seed))
        for _ in range(2):
            loss = learner.accumulate(batch, window_of(batch)).loss
            learner.apply(1e-2, 1.0)
        losses.append(loss)
    assert losses[0] == losses[1] != losses[2]

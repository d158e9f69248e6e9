"""Chunked heads, preference losses by their formulas, and memory that does not grow."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from backends.contract import AdapterSpec, ModelSpec, Objective, OptimizerSpec
from backends.mlx import head
from backends.mlx.framework import mx
from backends.mlx.session import MlxSession
from tests.tiny import make_model, preference_batch, random_batch, window_of

SPEC = AdapterSpec(rank=4, alpha=8.0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model(tmp_path_factory.mktemp("wide"), "llama", vocab_size=8192)


@pytest.fixture
def session(folder: Path) -> Iterator[MlxSession]:
    opened = MlxSession(ModelSpec(str(folder), dtype="float32", device="cpu"))
    opened.adapters.add(SPEC, "topic")
    yield opened
    opened.close()


def test_chunks_give_the_same_loss_and_gradient(
    session: MlxSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch = random_batch(np.random.default_rng(1))
    learner = session.learner(Objective("sft"), OptimizerSpec())
    loss, gradient = learner.gradients(batch, window_of(batch))
    rows = session.logprobs(batch, per_token=True)
    monkeypatch.setattr(head, "ROWS", 7)
    monkeypatch.setattr(head, "BLOCK_BYTES", 7 * 4 * 1000)  # a thousand tokens at a time
    chunked, chunked_gradient = learner.gradients(batch, window_of(batch))
    # Sums of about 60 float32 terms in another order.
    assert chunked == pytest.approx(loss, rel=1e-6)
    for name, wanted in gradient.items():
        np.testing.assert_allclose(chunked_gradient[name], wanted, atol=1e-6)
    again = session.logprobs(batch, per_token=True)
    assert rows.tokens is not None and again.tokens is not None
    np.testing.assert_allclose(again.tokens, rows.tokens, atol=1e-5)
    assert not again.tokens[~batch.mask].any()
    np.testing.assert_allclose(again.rows, again.tokens.sum(axis=1), rtol=1e-5)


def test_chunks_bound_the_memory_of_a_step(
    session: MlxSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    """1,000 positions of 8,192 logits are 33 MB, several times over."""
    batch = random_batch(np.random.default_rng(2), [126] * 8, prompts=[1] * 8)
    learner = session.learner(Objective("sft"), OptimizerSpec())
    peaks = []
    for size in (256 << 20, 1 << 20):
        monkeypatch.setattr(head, "BLOCK_BYTES", size)
        mx.clear_cache()
        mx.reset_peak_memory()
        before = mx.get_active_memory()
        learner.gradients(batch, window_of(batch))
        peaks.append(mx.get_peak_memory() - before)
    assert peaks[0] > 30e6
    assert peaks[1] < 0.6 * peaks[0]  # the layers' own activations remain


@pytest.mark.parametrize("kind", ["sigmoid", "ipo", "hinge", "length-normalised"])
def test_preference_losses_by_their_formulas(session: MlxSession, kind: Any) -> None:
    """NumPy, float64, from the session's log-probabilities."""
    beta, weight = 0.3, 0.25
    batch = preference_batch(np.random.default_rng(3))
    policy = session.logprobs(batch).rows.astype(np.float64)
    shift = np.linspace(-4, 4, len(policy))
    batch = replace(batch, reference=(policy - shift).astype(np.float32))
    learner = session.learner(Objective("dpo", beta, kind, weight), OptimizerSpec())
    told = learner.accumulate(batch, window_of(batch))
    ratio = policy - np.asarray(batch.reference, dtype=np.float64)
    trained = batch.mask.sum(axis=1)
    scaled = ratio / trained if kind == "length-normalised" else ratio
    gap = scaled[:4] - scaled[4:]
    each = {
        "sigmoid": np.log1p(np.exp(-beta * gap)),
        "length-normalised": np.log1p(np.exp(-beta * gap)),
        "ipo": (gap - 1 / (2 * beta)) ** 2,
        "hinge": np.maximum(0, 1 - beta * gap),
    }[kind]
    wanted = each.mean() - weight * policy[:4].sum() / trained[:4].sum()
    # References were rounded to float32 near 60: 4e-6 each.
    assert told.loss == pytest.approx(wanted, rel=1e-5)
    margin = beta * (ratio[:4] - ratio[4:])
    assert told.margin == pytest.approx(margin.sum(), abs=1e-4)
    assert told.chosen_logratio == pytest.approx(ratio[:4].sum(), abs=1e-4)
    assert (told.pairs, told.wins) == (4, int((margin > 0).sum()))
    assert told.chosen_tokens == trained[:4].sum()


def test_pairs_need_a_reference(session: MlxSession) -> None:
    batch = preference_batch(np.random.default_rng(4))
    learner = session.learner(Objective("dpo"), OptimizerSpec())
    with pytest.raises(ValueError, match="reference"):
        learner.accumulate(batch, window_of(batch))
    # The traced arrays of the failed attempt must not stay in the layers.
    assert all(np.isfinite(array).all() for array in session.adapters.parameters().values())


def test_memory_does_not_grow_with_steps_and_close_gives_it_back(folder: Path) -> None:
    start = mx.get_active_memory()
    session = MlxSession(ModelSpec(str(folder), dtype="float32", device="cpu"))
    session.adapters.add(SPEC, "topic")
    learner = session.learner(Objective("sft"), OptimizerSpec())
    held = []
    for step in range(8):
        batch = random_batch(np.random.default_rng(step))
        for _ in range(2):
            learner.accumulate(batch, window_of(batch))
        learner.apply(1e-3, 1.0)
        held.append(session.memory().device)
    # A batch's index arrays come and go, about 1 kB; the adapter alone is 100 kB.
    assert max(held) - min(held) < 8_000, held
    assert session.memory().device_peak >= held[-1]
    session.close()
    del learner
    assert mx.get_active_memory() - start < 100_000  # the weights alone are 3.5 MB

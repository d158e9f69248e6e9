"""What a learner minimises, and how: losses, gradients, accumulation. Both backends, float32."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from backends.contract import Batch, Objective, OptimizerSpec, Params, Session
from backends.errors import AdapterError
from tests.conformance.oracle import LN2, loss_and_gradients
from tests.conformance.trained import SPEC, attach, distance, train
from tests.tiny import part, preference_batch, random_batch, window_of, with_reference

SFT, DPO = Objective("sft"), Objective("dpo")
PREFERENCES = (
    DPO,
    Objective("dpo", beta=0.3, sft_weight=0.2),
    Objective("dpo", loss="ipo", beta=0.2),
    Objective("dpo", loss="hinge", beta=0.05),
    Objective("dpo", loss="length-normalised", beta=2.0),
)


def test_sft_lowers_the_loss(session: Session) -> None:
    session.adapters.add(SPEC, "topic")
    losses = train(session, random_batch(np.random.default_rng(41)), steps=20)
    assert losses[-1] < 0.5 * losses[0]


def test_dpo_starts_at_ln2_and_raises_the_margin(session: Session) -> None:
    attach(session, "topic", seed=42)  # the reference is an adapted model, not the base
    batch = with_reference(preference_batch(np.random.default_rng(43)), session)
    learner = session.learner(DPO, OptimizerSpec())
    stats = []
    for _ in range(20):
        stats.append(learner.accumulate(batch, window_of(batch)))
        learner.apply(1e-3, 1.0)
    first, last = stats[0], stats[-1]
    assert abs(first.loss - LN2) < 1e-4  # float32 sums of about 100 nats: 1e-5 each
    assert abs(first.margin) < 1e-4
    assert last.loss < first.loss
    assert last.margin > 0.1
    assert last.wins == last.pairs == 4
    assert last.chosen_tokens == int(batch.mask[:4].sum())


def test_logprobs_are_those_of_rows_alone(session: Session) -> None:
    """Padding, other rows and the batch's width change nothing."""
    attach(session, "topic", seed=44)
    batch = random_batch(np.random.default_rng(45))
    found = session.logprobs(batch, per_token=True)
    assert found.tokens is not None and found.rows.dtype == np.float32
    assert not found.tokens[~batch.mask].any()
    # float32 sums of up to 23 log-probabilities of about 6 nats
    assert distance(found.tokens.sum(axis=1), found.rows) < 1e-4
    for index, length in enumerate(batch.lengths):
        row = part(batch, slice(index, index + 1))
        alone = replace(row, ids=row.ids[:, :length], mask=row.mask[:, :length])
        assert distance(session.logprobs(alone).rows, found.rows[index : index + 1]) < 1e-4
    logits = session.logits(batch).astype(np.float64)
    logits -= np.log(np.exp(logits).sum(axis=-1, keepdims=True))
    row, place = np.nonzero(batch.mask)
    oracle = logits[row, place - 1, batch.ids[row, place]]
    assert distance(found.tokens[row, place], oracle) < 2e-5  # float32 log-softmax near 6


def test_accumulation_is_one_batch(session: Session) -> None:
    """1 x 8 rows and 4 x 2 rows: one window, the same gradient."""
    attach(session, "topic", seed=46)
    batch = random_batch(np.random.default_rng(47))
    learner = session.learner(SFT, OptimizerSpec())
    loss, whole = learner.gradients(batch, window_of(batch))
    parts = [part(batch, slice(start, start + 2)) for start in range(0, 8, 2)]
    shares = [learner.gradients(piece, window_of(batch)) for piece in parts]
    assert abs(sum(share for share, _ in shares) - loss) < 1e-5 * loss  # float32 sums
    summed = {name: sum(g[name] for _, g in shares) for name in whole}
    assert relative(summed, whole) < 1e-5
    start = session.adapters.parameters()
    moved = []
    for pieces in ([batch], parts):
        learner = session.learner(SFT, OptimizerSpec())
        learner.assign(start)
        for piece in pieces:
            learner.accumulate(piece, window_of(batch))
        norm = learner.apply(1e-3, None)
        assert abs(norm - _norm(whole)) < 1e-5 * norm
        after = session.adapters.parameters()
        moved.append({name: after[name] - start[name] for name in start})
    # Adam's first step is about the gradient's sign: near-zero gradients turn noise into steps.
    assert relative(moved[1], moved[0]) < 1e-2


def test_sft_gradients_against_the_oracle(session: Session, folder: Path) -> None:
    attach(session, "topic", seed=48)
    batch = random_batch(np.random.default_rng(49))
    _against_oracle(session, folder, SFT, batch)


@pytest.mark.parametrize("family", ["llama", "gemma3_text"])
@pytest.mark.parametrize("objective", PREFERENCES, ids=lambda o: f"{o.loss}-{o.sft_weight}")
def test_dpo_gradients_against_the_oracle(
    session: Session, folder: Path, objective: Objective
) -> None:
    attach(session, "topic", seed=50)
    batch = with_reference(preference_batch(np.random.default_rng(51)), session)
    train(session, random_batch(np.random.default_rng(52)), steps=2)  # away from the reference
    _against_oracle(session, folder, objective, batch)


def _against_oracle(session: Session, folder: Path, objective: Objective, batch: Batch) -> None:
    learner = session.learner(objective, OptimizerSpec())
    params = session.adapters.parameters()
    found_loss, found = learner.gradients(batch, window_of(batch))
    loss, oracle = loss_and_gradients(folder, SPEC, params, objective, batch, window_of(batch))
    # transformers computes norms in float32 even in a float64 model
    assert abs(found_loss - loss) < 2e-5 * max(abs(loss), 0.1)
    assert found.keys() == oracle.keys()
    assert relative(found, oracle) < 5e-5
    for name in found:  # and each tensor by itself, against the largest
        assert _norm({name: found[name] - oracle[name]}) < 5e-5 * _norm(oracle)


@pytest.mark.parametrize("family", ["qwen2"])
def test_gradients_elsewhere_leave_everything_as_it_was(session: Session) -> None:
    attach(session, "topic", seed=53)
    batch = random_batch(np.random.default_rng(54))
    learner = session.learner(SFT, OptimizerSpec())
    here = session.adapters.parameters()
    there = {name: values + 0.01 for name, values in here.items()}
    loss, gradient = learner.gradients(batch, window_of(batch))
    loss_there, gradient_there = learner.gradients(batch, window_of(batch), at=there)
    assert loss_there != loss
    after = session.adapters.parameters()
    assert all(np.array_equal(after[name], here[name]) for name in here)
    with pytest.raises(AdapterError, match="nothing was accumulated"):
        learner.apply(1e-3, None)
    learner.assign(there)
    again, gradient_again = learner.gradients(batch, window_of(batch))
    assert again == loss_there
    assert relative(gradient_again, gradient_there) == 0.0
    assert relative(gradient, gradient_there) > 1e-3


def relative(found: Params, wanted: Params) -> float:
    """Norm of the difference over the norm of `wanted`, all tensors together."""
    return _norm({n: found[n].astype(np.float64) - wanted[n] for n in wanted}) / _norm(wanted)


def _norm(tensors: Params) -> float:
    return float(sum(np.square(t.astype(np.float64)).sum() for t in tensors.values()) ** 0.5)

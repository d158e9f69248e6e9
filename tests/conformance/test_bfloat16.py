"""The same promises over bfloat16 weights, as on Metal and CUDA: the adapter is float32."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from backends.contract import GenerateSpec, Objective, OptimizerSpec, Session
from tests.conformance.conftest import ModelFolder, OpenSession
from tests.conformance.oracle import LN2
from tests.conformance.trained import SPEC, attach, distance, real, train
from tests.tiny import preference_batch, random_batch, window_of, with_reference


@pytest.fixture
def folder(model_of: ModelFolder, family: str) -> Path:
    return model_of(family, dtype="bfloat16")


@pytest.fixture
def session(open_session: OpenSession, backend: str, folder: Path) -> Session:
    return open_session(backend, folder, dtype="bfloat16")


def test_a_fresh_adapter_changes_nothing(session: Session) -> None:
    batch = random_batch(np.random.default_rng(71))
    base, prints = session.logits(batch), session.adapters.base_fingerprint()
    session.adapters.add(SPEC, "topic")
    assert np.array_equal(session.logits(batch), base)
    losses = train(session, batch, steps=20)
    assert losses[-1] < 0.7 * losses[0]
    assert {a.dtype for a in session.adapters.parameters().values()} == {np.dtype(np.float32)}
    assert session.adapters.base_fingerprint() == prints
    session.adapters.unload("topic")
    assert np.array_equal(session.logits(batch), base)


def test_dpo_starts_at_ln2(session: Session) -> None:
    attach(session, "topic", seed=72)
    batch = with_reference(preference_batch(np.random.default_rng(73)), session)
    learner = session.learner(Objective("dpo"), OptimizerSpec())
    first = learner.accumulate(batch, window_of(batch))
    # The reference came from a batch of the same shape: the same sums in the same order.
    assert abs(first.loss - LN2) < 1e-4
    assert abs(first.margin) < 1e-4
    for _ in range(20):
        learner.apply(1e-3, 1.0)
        last = learner.accumulate(batch, window_of(batch))
    assert last.margin > 0.1


def test_freezing_stays_within_bfloat16(session: Session) -> None:
    batch = attach(session, "topic", seed=74)
    training = real(batch, session.logits(batch))
    session.adapters.freeze("topic")
    # Activations carry 8 bits: two layers' rounding of logits of up to 8 is a few parts in 2^7.
    assert distance(real(batch, session.logits(batch)), training) < 0.15


def test_answers_are_drawn(session: Session) -> None:
    spec = GenerateSpec(max_tokens=6, stop_ids=())
    answers = session.generate([[5, 6, 7], [8]], spec)
    assert [len(answer.ids) for answer in answers] == [6, 6]
    assert answers == session.generate([[5, 6, 7], [8]], spec)

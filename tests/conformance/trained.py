"""What several conformance tests begin with: an adapter that has learned something."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from backends.contract import AdapterSpec, Batch, Objective, OptimizerSpec, Session
from tests.tiny import random_batch, window_of

SPEC = AdapterSpec(rank=4, alpha=8.0, seed=7)


def train(session: Session, batch: Batch, *, steps: int = 5, rate: float = 1e-2) -> list[float]:
    """SFT steps on one batch over the trainable adapter; the loss of each."""
    learner = session.learner(Objective("sft"), OptimizerSpec())
    losses = []
    for _ in range(steps):
        losses.append(learner.accumulate(batch, window_of(batch)).loss)
        learner.apply(rate, 1.0)
    return losses


def attach(session: Session, name: str, *, seed: int, spec: AdapterSpec = SPEC) -> Batch:
    """A trained adapter `name`; returns the batch it was trained on."""
    session.adapters.add(spec, name)
    batch = random_batch(np.random.default_rng(seed))
    train(session, batch)
    return batch


def distance(found: NDArray[Any], wanted: NDArray[Any]) -> float:
    """The largest absolute difference."""
    return float(np.abs(found.astype(np.float64) - wanted.astype(np.float64)).max())


def real(batch: Batch, logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """The logits of real tokens, [tokens, vocabulary]; padding's are nobody's business."""
    place = np.arange(batch.ids.shape[1])
    return logits[place < batch.lengths[:, None]]

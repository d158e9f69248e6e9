"""MLX and PyTorch side by side on DoRA and LS-LoRA: the bars of LoRA (`test_parity.py`), float32,
no dropout; biases and a tied head, where a bias that a magnitude scaled would show."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from backends.contract import AdapterSpec, Batch, Objective, OptimizerSpec, Params, Session
from tests.conformance.conftest import BACKENDS, ModelFolder, OpenSession
from tests.conformance.kinds import DORA, LSLORA, SOFT, apart, norm_of, put, same
from tests.conformance.trained import real
from tests.tiny import preference_batch, random_batch, window_of, with_reference

STEPS = 25
Pair = dict[str, Session]
KINDS = {
    "dora": replace(DORA, rank=8, alpha=16.0, seed=11),
    "lslora": replace(LSLORA, rank=8, alpha=16.0, seed=11),
    "soft": replace(LSLORA, rank=8, alpha=16.0, seed=11, spline=SOFT),
}


TRAINED = ["dora", "lslora", "soft"]


@pytest.fixture
def both(open_session: OpenSession, model_of: ModelFolder) -> Iterator[Pair]:
    """The same model on every backend."""
    sessions = {name: open_session(name, model_of("qwen2")) for name in BACKENDS}
    yield sessions


@pytest.mark.parametrize("kind", TRAINED)
def test_sft(both: Pair, kind: str) -> None:
    started = begun(both, KINDS[kind])
    batches = [random_batch(np.random.default_rng(400 + index)) for index in range(5)]
    losses = {name: steps(one, Objective("sft"), batches, 5e-3) for name, one in both.items()}
    worst = float(np.abs(losses["mlx"] / losses["torch"] - 1).max())
    moved = update_distance(both, started)
    print(f"loss apart {worst:.1e}, adapters apart {moved:.1e}")  # pytest -rP shows it
    assert losses["torch"][-1] < 0.9 * losses["torch"][0]  # it did learn
    assert worst < 1e-5
    assert moved < 1e-3


@pytest.mark.parametrize("kind", TRAINED)
def test_dpo_over_a_frozen_past(both: Pair, kind: str) -> None:
    for session in both.values():
        for name, spec in (("first", DORA), ("second", LSLORA)):
            put(session, name, spec, seed=80, size=0.05)
            session.adapters.freeze(name)
    started = begun(both, KINDS[kind])
    plain = [preference_batch(np.random.default_rng(500 + index)) for index in range(5)]
    losses = {}
    for name, session in both.items():
        pairs = [with_reference(batch, session) for batch in plain]
        losses[name] = steps(session, Objective("dpo", sft_weight=0.2), pairs, 2e-3)
    gap = np.abs(losses["mlx"] - losses["torch"])
    worst = float((gap / np.maximum(losses["torch"], 0.1)).max())
    moved = update_distance(both, started)
    print(f"loss apart {worst:.1e}, adapters apart {moved:.1e}")  # pytest -rP shows it
    assert losses["torch"][-1] < 0.9 * losses["torch"][0]  # it did learn
    assert worst < 1e-4
    assert moved < 1e-3


@pytest.mark.parametrize("kind", KINDS)
def test_an_adapter_crosses_over(both: Pair, kind: str, tmp_path: Path) -> None:
    """Trained on MLX, saved, loaded on PyTorch: the same bytes and the same function."""
    begun(both, KINDS[kind])
    batch = random_batch(np.random.default_rng(600))
    steps(both["mlx"], Objective("sft"), [batch], 1e-2, count=4)
    both["mlx"].adapters.save(tmp_path / "mlx")
    both["torch"].adapters.unload("topic")
    both["torch"].adapters.load(tmp_path / "mlx", "topic")
    both["torch"].adapters.save(tmp_path / "torch")
    for file in ("adapter_model.safetensors", "adapter_config.json"):
        assert (tmp_path / "torch" / file).read_bytes() == (tmp_path / "mlx" / file).read_bytes()
    here, there = (session.adapters.parameters() for session in both.values())
    assert same(here, there)
    logits = [real(batch, session.logits(batch)) for session in both.values()]
    assert apart(*logits) < 5e-6  # float32 over two layers, of the largest logit


def begun(both: Pair, spec: AdapterSpec) -> Params:
    """A fresh adapter on each, which begins with the same values: of magnitudes to the rounding of
    a norm, since each backend sums the squares in its own order."""
    for session in both.values():
        session.adapters.add(spec, "topic")
    here, there = (both[name].adapters.parameters() for name in BACKENDS)
    assert both["torch"].adapters.trainable() == both["mlx"].adapters.trainable()
    for name, values in here.items():
        if name.endswith("magnitude_vector"):
            assert np.abs(there[name] / values - 1).max() < 1e-5
        else:
            assert np.array_equal(there[name], values)
    return here


def steps(
    session: Session, objective: Objective, batches: list[Batch], rate: float, count: int = STEPS
) -> np.ndarray:
    """One batch a step, at a rate that decays; the objective's loss and the penalty of each."""
    learner = session.learner(objective, OptimizerSpec())
    losses = []
    for step in range(count):
        batch = batches[step % len(batches)]
        stats = learner.accumulate(batch, window_of(batch))
        losses.append(stats.loss + stats.penalty)
        learner.apply(rate * (1 - step / count), 1.0)
    return np.array(losses)


def update_distance(both: Pair, started: Params) -> float:
    """How far apart the adapters ended, over how far they went."""
    ends = [both[name].adapters.parameters() for name in BACKENDS]
    apart_by = {name: ends[1][name] - values for name, values in ends[0].items()}
    return norm_of(apart_by) / norm_of({n: v - started[n] for n, v in ends[0].items()})

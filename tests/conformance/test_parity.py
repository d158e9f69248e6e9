"""MLX and PyTorch side by side: the same 50 steps give the same losses and the same adapter.

float32, no dropout, all six families. The bars are DESIGN 6's.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from backends.contract import (
    AdapterSpec,
    Batch,
    GenerateSpec,
    Objective,
    OptimizerSpec,
    Params,
    Session,
)
from tests.conformance.conftest import BACKENDS, OpenSession
from tests.conformance.test_learning import relative
from tests.conformance.trained import distance, real
from tests.tiny import preference_batch, random_batch, window_of, with_reference

STEPS = 50
SPEC = AdapterSpec(rank=8, alpha=16.0, seed=11)
Pair = dict[str, Session]


@pytest.fixture
def both(open_session: OpenSession, folder: Path) -> Iterator[Pair]:
    """The same model on every backend, each with a fresh adapter."""
    sessions = {name: open_session(name, folder) for name in BACKENDS}
    for session in sessions.values():
        session.adapters.add(SPEC, "topic")
    yield sessions


def test_sft(both: Pair) -> None:
    batches = [random_batch(np.random.default_rng(100 + index)) for index in range(5)]
    started = both["torch"].adapters.parameters()
    losses = {
        name: _steps(session, Objective("sft"), batches, 5e-3) for name, session in both.items()
    }
    worst = np.abs(losses["mlx"] / losses["torch"] - 1).max()
    apart = _update_distance(both, started)
    print(f"loss apart {worst:.1e}, adapters apart {apart:.1e}")  # pytest -rP shows it
    assert losses["torch"][-1] < 0.9 * losses["torch"][0]  # it did learn
    assert worst < 1e-5
    assert apart < 1e-3


@pytest.mark.parametrize("weight", [0.0, 0.2])
def test_dpo(both: Pair, weight: float) -> None:
    objective = Objective("dpo", sft_weight=weight)
    plain = [preference_batch(np.random.default_rng(200 + index)) for index in range(5)]
    started = both["torch"].adapters.parameters()
    losses = {}
    for name, session in both.items():
        pairs = [with_reference(batch, session) for batch in plain]
        losses[name] = _steps(session, objective, pairs, 2e-3)
    gap = np.abs(losses["mlx"] - losses["torch"])
    worst = (gap / np.maximum(losses["torch"], 0.1)).max()
    apart = _update_distance(both, started)
    print(f"loss apart {worst:.1e}, adapters apart {apart:.1e}")  # pytest -rP shows it
    assert losses["torch"][-1] < 0.7 * losses["torch"][0]
    assert worst < 1e-4
    assert apart < 1e-3


def test_a_fresh_adapter_is_the_same_everywhere(both: Pair) -> None:
    here, there = (session.adapters.parameters() for session in both.values())
    assert here.keys() == there.keys()
    assert all(np.array_equal(here[name], there[name]) for name in here)
    assert both["torch"].model_id == both["mlx"].model_id
    assert both["torch"].adapters.trainable() == both["mlx"].adapters.trainable()


def test_an_adapter_crosses_over(both: Pair, tmp_path: Path) -> None:
    """Trained on one, saved, loaded on the other: the same bytes and the same function."""
    batch = random_batch(np.random.default_rng(300))
    _steps(both["torch"], Objective("sft"), [batch], 1e-3, steps=5)
    both["torch"].adapters.save(tmp_path / "torch")
    both["mlx"].adapters.unload("topic")
    both["mlx"].adapters.load(tmp_path / "torch", "topic")
    both["mlx"].adapters.save(tmp_path / "mlx")
    for file in ("adapter_model.safetensors", "adapter_config.json"):
        assert (tmp_path / "torch" / file).read_bytes() == (tmp_path / "mlx" / file).read_bytes()
    logits = [real(batch, session.logits(batch)) for session in both.values()]
    assert distance(*logits) < 5e-5  # float32 over two layers; logits are about 1 to 5
    rows = [session.logprobs(batch).rows for session in both.values()]
    assert distance(*rows) < 1e-4  # sums of up to 23 of them


def test_sampled_answers_are_the_same(both: Pair) -> None:
    """Both draw with the same uniforms; the logits differ by 1e-6, which moves a boundary of the
    cumulative sum past a draw about once in 1e5 tokens."""
    prompts = [[5, 9, 200], [7], [40, 41, 42, 43, 44, 45, 46, 47]]
    spec = GenerateSpec(max_tokens=12, stop_ids=(2,), temperature=0.8, top_p=0.9, seed=3)
    answers = [session.generate(prompts, spec) for session in both.values()]
    said = [[(one.ids, one.stop) for one in answer] for answer in answers]
    assert said[0] == said[1]


def _steps(
    session: Session, objective: Objective, batches: list[Batch], rate: float, steps: int = STEPS
) -> np.ndarray:
    """Two batches a step, at a rate that decays: what a training loop does."""
    learner = session.learner(objective, OptimizerSpec())
    losses = []
    for step in range(steps):
        pair = [batches[(2 * step + index) % len(batches)] for index in range(2)]
        window = window_of(*pair)
        losses.append(sum(learner.accumulate(batch, window).loss for batch in pair))
        learner.apply(rate * (1 - step / steps), 1.0)
    return np.array(losses)


def _update_distance(both: Pair, started: Params) -> float:
    """How far apart the adapters ended, over how far they went."""
    ended = {name: session.adapters.parameters() for name, session in both.items()}
    moved = {
        name: {key: values - started[key] for key, values in params.items()}
        for name, params in ended.items()
    }
    return relative(moved["mlx"], moved["torch"])

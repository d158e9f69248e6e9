"""Freeze, stack and merge say the same thing; what would be lost is refused, with the figure."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from backends.contract import AdapterSpec, Batch, Objective, OptimizerSpec, Params, Session
from backends.errors import AdapterError, MergeRefused
from tests.conformance.conftest import ModelFolder, OpenSession
from tests.conformance.tamper import change_weight
from tests.conformance.trained import SPEC, attach, distance, real
from tests.tiny import random_batch

WIDE = AdapterSpec(rank=3, alpha=12.0, targets=("down_proj", "o_proj"), scaling="rslora", seed=5)


def test_freeze_and_stack_agree(session: Session) -> None:
    """Freezing changes nothing, and a second adapter over the frozen first starts from it."""
    batch = attach(session, "first", seed=21)
    training = session.logits(batch)
    session.adapters.freeze("first")
    frozen = session.logits(batch)
    assert distance(frozen, training) < 1e-5  # the scale is folded into B: float32 rounding
    assert session.adapters.trainable() == {}
    session.adapters.add(WIDE, "second")
    assert np.array_equal(session.logits(batch), frozen)


def test_a_stack_is_the_sum_of_its_adapters(session: Session, tmp_path: Path) -> None:
    """Two adapters trained one over the other, frozen, saved, loaded frozen in another order of
    calls: the same function; and dropping one leaves exactly the other."""
    batch = attach(session, "first", seed=22)
    session.adapters.freeze("first")
    alone = session.logits(batch)
    attach(session, "second", seed=23, spec=WIDE)
    session.adapters.save(tmp_path / "second")
    session.adapters.freeze("second")
    both = session.logits(batch)
    session.adapters.save(tmp_path / "first", "first")
    for name in ("first", "second"):
        session.adapters.unload(name)
    for name in ("second", "first"):
        session.adapters.load(tmp_path / name, name, frozen=True)
    assert distance(session.logits(batch), both) < 1e-5  # float32 sums in another order
    session.adapters.unload("second")
    assert np.array_equal(session.logits(batch), alone)


def test_merge_agrees_with_the_stack(session: Session) -> None:
    batch = attach(session, "first", seed=24)
    session.adapters.freeze("first")
    attach(session, "second", seed=25, spec=WIDE)
    stacked = session.logits(batch)
    before = session.adapters.base_fingerprint()
    report = session.adapters.merge_and_unload()
    assert session.adapters.active() == ()
    assert session.adapters.trainable() == {}
    # float32 rounding of weights near 0.15 through two layers; logits are about 1 to 5.
    assert distance(session.logits(batch), stacked) < 1e-4
    assert report.dtype == "float32"
    assert report.positions >= 64
    assert report.lost < 1e-4
    assert report.weight_error < 1e-5
    after = session.adapters.base_fingerprint()
    changed = {name for name in before if before[name] != after[name]}
    assert len(changed) == report.layers
    assert all(name.endswith("proj.weight") for name in changed)


def test_merges_do_not_add_up_their_rounding(session: Session, folder: Path) -> None:
    """Eight merges leave what adding all eight deltas at once leaves."""
    batch = random_batch(np.random.default_rng(26))
    learned = []
    for index in range(8):
        attach(session, f"t{index}", seed=30 + index)
        learned.append(session.adapters.parameters())
        session.adapters.merge_and_unload()
    oracle = _sum_of(folder, learned, batch)
    # Two frameworks' float32 over two layers; the eight deltas make logits of about 10.
    assert distance(real(batch, session.logits(batch)), oracle) < 2e-4


def test_after_a_merge_nothing_can_be_left_out(session: Session) -> None:
    attach(session, "first", seed=27)
    state = session.adapters.snapshot()
    session.adapters.merge_and_unload()
    with pytest.raises(AdapterError, match="cannot be left out"), session.adapters.using(()):
        pass
    with session.adapters.using(("first",)):
        pass
    with pytest.raises(AdapterError, match="merged"):
        session.adapters.unload("first")
    with pytest.raises(AdapterError, match="merged"):
        session.adapters.restore(state)
    with pytest.raises(AdapterError, match="already attached"):
        session.adapters.add(SPEC, "first")
    with pytest.raises(AdapterError):
        session.adapters.merge_and_unload()  # nothing is attached any more


def test_a_merge_that_rounds_away_is_refused(
    open_session: OpenSession, model_of: ModelFolder, backend: str, family: str
) -> None:
    """bfloat16 weights near 0.15 are 5e-4 apart: a delta of std 1e-5 hardly moves any."""
    session = open_session(backend, model_of(family, dtype="bfloat16"), dtype="bfloat16")
    batch = random_batch(np.random.default_rng(28))
    session.adapters.add(SPEC, "faint")
    _set_delta(session, 1e-5)
    state, logits = session.adapters.snapshot(), session.logits(batch)
    prints = session.adapters.base_fingerprint()
    with pytest.raises(MergeRefused, match=r"bfloat16 weights would lose \d+%") as found:
        session.adapters.merge_and_unload()
    lost = int(str(found.value).split("would lose ")[1].split("%")[0])
    assert lost > 50
    assert session.adapters.base_fingerprint() == prints
    assert np.array_equal(session.logits(batch), logits)
    after = session.adapters.snapshot()
    assert after.trainable is not None and state.trainable is not None
    for name, values in state.trainable[2].items():
        assert np.array_equal(after.trainable[2][name], values)


def test_a_merge_that_survives_rounding_is_taken(
    open_session: OpenSession, model_of: ModelFolder, backend: str
) -> None:
    """A delta as large as the weights loses about one part in 300 to bfloat16."""
    session = open_session(backend, model_of("llama", dtype="bfloat16"), dtype="bfloat16")
    session.adapters.add(SPEC, "strong")
    _set_delta(session, 0.05)
    report = session.adapters.merge_and_unload()
    assert report.dtype == "bfloat16"
    assert 1e-4 < report.lost < 0.1
    assert 1e-4 < report.weight_error < 0.1
    session.adapters.add(SPEC, "faint")
    _set_delta(session, 1e-5)
    with pytest.raises(MergeRefused):
        session.adapters.merge_and_unload()


def test_a_merge_over_changed_weights_is_refused(session: Session, backend: str) -> None:
    attach(session, "first", seed=29)
    change_weight(session, backend, "swap")
    with pytest.raises(MergeRefused, match="is not what its file"):
        session.adapters.merge_and_unload()


def _sum_of(folder: Path, learned: list[Params], batch: Batch) -> np.ndarray[Any, Any]:
    """Logits of transformers' model with every scale * B A added to its weights in float64."""
    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    for path in sorted({name.rsplit(".", 1)[0] for name in learned[0]}):
        weight = model.get_submodule(path).weight
        total = weight.detach().double().numpy().copy()
        for params in learned:
            a, b = params[f"{path}.lora_A"], params[f"{path}.lora_B"]
            total += SPEC.scale * b.astype(np.float64) @ a.astype(np.float64)
        weight.data = torch.from_numpy(total.astype(np.float32))
    with torch.no_grad():
        logits = model(input_ids=torch.from_numpy(batch.ids).long()).logits
    return real(batch, logits.numpy())


def _set_delta(session: Session, std: float) -> None:
    """Set the trainable adapter so that every layer's scale * B A has about that std."""
    rng = np.random.default_rng(0)
    scale, rank = SPEC.scale, SPEC.rank
    values = {}
    for name, shape in session.adapters.trainable().items():
        draws = rng.standard_normal(shape)
        size = 1.0 if name.endswith("lora_A") else std / (scale * rank**0.5)
        values[name] = (size * draws).astype(np.float32)
    session.learner(Objective("sft"), OptimizerSpec()).assign(values)

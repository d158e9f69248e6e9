"""Attaching, looking, saving and detaching: both backends, six families, float32."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from backends.contract import AdapterSpec, Batch, Objective, OptimizerSpec, Session
from backends.errors import AdapterError
from tests.conformance.tamper import change_weight
from tests.conformance.trained import SPEC, attach, distance, real, train
from tests.tiny import random_batch


def test_a_fresh_adapter_changes_nothing(session: Session) -> None:
    batch = random_batch(np.random.default_rng(1))
    base = session.logits(batch)
    session.adapters.add(SPEC, "topic")
    assert np.array_equal(session.logits(batch), base)


def test_trainable_tensors_are_the_adapters(session: Session, family: str) -> None:
    session.adapters.add(SPEC, "topic")
    shapes = session.adapters.trainable()
    leaves = ("qkv_proj", "gate_up_proj") if family == "phi3" else ("q_proj", "v_proj", "up_proj")
    for leaf in (*leaves, "o_proj", "down_proj"):
        assert sum(f".{leaf}.lora_A" in name for name in shapes) == 2  # one in each layer
    assert {name: array.shape for name, array in session.adapters.parameters().items()} == shapes
    assert shapes["model.layers.0.mlp.down_proj.lora_A"] == (4, 80)
    assert shapes["model.layers.0.mlp.down_proj.lora_B"] == (48, 4)
    assert not any("lm_head" in name for name in shapes)


def test_targets_pick_layers_and_rslora_scales(session: Session) -> None:
    batch = random_batch(np.random.default_rng(2))
    only = AdapterSpec(rank=4, alpha=8.0, targets=("down_proj",))
    session.adapters.add(only, "plain")
    assert {name.split(".")[4] for name in session.adapters.trainable()} == {"down_proj"}
    train(session, batch, steps=2)
    learned = session.adapters.parameters()
    plain = session.logits(batch)
    base = _without(session, batch)
    session.adapters.unload("plain")
    rooted = AdapterSpec(rank=4, alpha=8.0, targets=("down_proj",), scaling="rslora")
    session.adapters.add(rooted, "rooted")
    # alpha/sqrt(4) is twice alpha/4: halving B must give the same function.
    halved = {n: a / 2 if n.endswith("lora_B") else a for n, a in learned.items()}
    session.learner(Objective("sft"), OptimizerSpec()).assign(halved)
    assert distance(session.logits(batch), plain) < 1e-5  # float32, another order of products
    assert distance(plain, base) > 1e-2


def test_using_picks_any_part(session: Session) -> None:
    batch = random_batch(np.random.default_rng(3))
    base = session.logits(batch)
    attach(session, "first", seed=4)
    first = session.logits(batch)
    session.adapters.freeze("first")
    past = session.logits(batch)
    attach(session, "second", seed=5)
    both = session.logits(batch)
    assert session.adapters.active() == ("first", "second")
    with session.adapters.using(()):
        assert np.array_equal(session.logits(batch), base)
    with session.adapters.using(("first",)):
        assert np.array_equal(session.logits(batch), past)
        assert distance(past, first) < 1e-5  # the scale is folded into B: another rounding
    with session.adapters.using(("second",)):
        second = session.logits(batch)
    assert np.array_equal(session.logits(batch), both)
    assert min(distance(second, other) for other in (base, past, both)) > 1e-3
    with pytest.raises(AdapterError, match="no adapter `third`"), session.adapters.using(["third"]):
        pass


def test_save_and_load_round_trip(session: Session, tmp_path: Path) -> None:
    batch = attach(session, "topic", seed=6)
    learned, logits = session.adapters.parameters(), session.logits(batch)
    session.adapters.save(tmp_path / "a")
    session.adapters.unload("topic")
    session.adapters.load(tmp_path / "a", "topic")
    again = session.adapters.parameters()
    assert again.keys() == learned.keys()
    assert all(np.array_equal(again[name], learned[name]) for name in learned)
    assert np.array_equal(session.logits(batch), logits)
    session.adapters.save(tmp_path / "b")
    for file in (tmp_path / "a").iterdir():
        if file.suffix == ".safetensors":
            assert file.read_bytes() == (tmp_path / "b" / file.name).read_bytes()
    session.adapters.unload("topic")
    session.adapters.load(tmp_path / "a", "topic", frozen=True)
    assert session.adapters.trainable() == {}
    assert distance(session.logits(batch), logits) < 1e-5  # the scale is folded into B


# PEFT 0.21 still asks transformers under the older name.
@pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning")
def test_peft_reads_what_was_saved(session: Session, folder: Path, tmp_path: Path) -> None:
    batch = attach(session, "topic", seed=8)
    session.adapters.save(tmp_path)
    logits = real(batch, session.logits(batch))
    oracle = real(batch, _peft_logits(folder, tmp_path, batch.ids))
    # Two frameworks' float32 over two layers; logits are about 1 to 5.
    assert distance(logits, oracle) < 5e-5


def test_an_adapter_that_does_not_fit_is_refused(session: Session, tmp_path: Path) -> None:
    from safetensors.numpy import load_file, save_file

    attach(session, "topic", seed=9)
    session.adapters.save(tmp_path)
    session.adapters.unload("topic")
    file = tmp_path / "adapter_model.safetensors"
    tensors = load_file(file)
    wrong = next(name for name in sorted(tensors) if name.endswith("lora_A.weight"))
    tensors[wrong] = np.ascontiguousarray(tensors[wrong].T)
    save_file(tensors, file)
    with pytest.raises(AdapterError, match=r"lora_A` is \(\d+, 4\), the model needs \(4, \d+\)"):
        session.adapters.load(tmp_path, "topic")
    assert session.adapters.active() == ()


def test_unload_restores_the_base_bit_for_bit(session: Session) -> None:
    batch = random_batch(np.random.default_rng(10))
    base, prints = session.logits(batch), session.adapters.base_fingerprint()
    attach(session, "past", seed=11)
    session.adapters.freeze("past")
    attach(session, "topic", seed=12)
    session.adapters.unload("past")
    session.adapters.unload("topic")
    assert session.adapters.active() == ()
    assert session.adapters.trainable() == {}
    assert np.array_equal(session.logits(batch), base)
    assert session.adapters.base_fingerprint() == prints


def test_fingerprint_survives_training_and_sees_tampering(session: Session, backend: str) -> None:
    before = session.adapters.base_fingerprint()
    attach(session, "topic", seed=13)
    assert session.adapters.base_fingerprint() == before
    for kind in ("bit", "swap"):
        change_weight(session, backend, kind)
        after = session.adapters.base_fingerprint()
        changed = {name for name in before if before[name] != after[name]}
        assert changed == {"model.layers.1.mlp.down_proj.weight"}
        before = after


def test_snapshot_and_restore_are_exact(session: Session) -> None:
    attach(session, "past", seed=14)
    session.adapters.freeze("past")
    batch = attach(session, "topic", seed=15)
    state, logits = session.adapters.snapshot(), session.logits(batch)
    train(session, batch, steps=2)
    assert not np.array_equal(session.logits(batch), logits)
    session.adapters.restore(state)
    assert np.array_equal(session.logits(batch), logits)
    session.adapters.unload("topic")
    session.adapters.unload("past")
    session.adapters.restore(state)
    assert session.adapters.active() == ("past", "topic")
    assert np.array_equal(session.logits(batch), logits)


@pytest.mark.parametrize("family", ["qwen2"])
def test_what_must_not_be_attached(session: Session) -> None:
    with pytest.raises(AdapterError, match="no layer matches the target `q_porj`") as found:
        session.adapters.add(AdapterSpec(targets=("q_porj",)), "topic")
    assert "did you mean `q_proj`" in found.value.hint
    session.adapters.add(SPEC, "topic")
    with pytest.raises(AdapterError, match="`topic` is still training"):
        session.adapters.add(SPEC, "other")
    with pytest.raises(AdapterError, match="already attached"):
        session.adapters.add(SPEC, "topic")
    with pytest.raises(AdapterError, match="not the adapter in training"):
        session.adapters.freeze("other")
    with pytest.raises(AdapterError, match="no adapter `other`"):
        session.adapters.unload("other")
    with session.adapters.using(()), pytest.raises(AdapterError, match="inside `using`"):
        session.adapters.unload("topic")


@pytest.mark.parametrize("family", ["llama"])
def test_no_adapter_no_learner(session: Session) -> None:
    with pytest.raises(AdapterError, match="no adapter is in training"):
        session.learner(Objective("sft"), OptimizerSpec())


def _without(session: Session, batch: Batch) -> np.ndarray[Any, Any]:
    with session.adapters.using(()):
        return session.logits(batch)


def _peft_logits(folder: Path, adapter: Path, ids: Any) -> np.ndarray[Any, Any]:
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    base = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    model = PeftModel.from_pretrained(base, adapter).eval()
    with torch.no_grad():
        logits = model(input_ids=torch.from_numpy(ids).long()).logits
    return np.asarray(logits.numpy())

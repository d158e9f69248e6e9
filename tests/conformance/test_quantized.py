"""Training over packed weights: what is packed stays as it is, and is what the model computes with.

The oracle of a packed model is the plain one whose weights are the numbers that the packed ones
stand for, opened on the same backend: what it computes and every gradient have to agree.
"""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from backends.contract import (
    AdapterSpec,
    Batch,
    GenerateSpec,
    Objective,
    OptimizerSpec,
    Session,
)
from backends.errors import MergeRefused, ModelError
from backends.lora import shapes
from tests.conformance.conftest import BACKENDS, ModelFolder, OpenSession
from tests.conformance.kinds import ALL, put
from tests.tiny import preference_batch, random_batch, window_of, with_reference

SIZES = {"hidden_size": 64, "intermediate_size": 96}
"""Rows of 64 and of 96: MLX packs them in groups of 64 and of 32."""
FAMILIES = ("llama", "gemma3_text", "phi3")
"""A head of its own and one that is the embedding; norms in float32; layers in one piece."""
LORA = AdapterSpec(rank=4, alpha=8.0, seed=7)
AGREE = 2e-5
"""Of the largest logit, float32: MLX multiplies packed numbers and scales group by group, where
the plain model has their products."""

Opened = Callable[[str, str, str], Session]


@pytest.fixture
def opened(open_session: OpenSession, model_of: ModelFolder) -> Opened:
    """`opened(backend, family, quantization)`."""

    def open_one(backend: str, family: str, quantization: str = "4bit") -> Session:
        folder = model_of(family, **SIZES)
        return open_session(backend, folder, quantization=quantization)

    return open_one


@pytest.fixture
def batch() -> Batch:
    return random_batch(np.random.default_rng(3))


def unpacked_folder(source: Path, session: Session, target: Path) -> Path:
    """The model's files with the numbers that its packed weights stand for."""
    shutil.copytree(source, target)
    tensors = load_file(source / "model.safetensors")
    found = dict(session.unpacked())
    assert found and found.keys() <= tensors.keys()
    for name, values in found.items():
        assert values.dtype == np.float32 and values.shape == tensors[name].shape
        assert not np.array_equal(values, tensors[name])
    save_file({**tensors, **found}, target / "model.safetensors", metadata={"format": "pt"})
    return target


@pytest.mark.parametrize("quantization", ["4bit", "8bit"])
@pytest.mark.parametrize("family", FAMILIES)
def test_it_computes_what_its_unpacked_weights_do(
    opened: Opened,
    open_session: OpenSession,
    model_of: ModelFolder,
    tmp_path: Path,
    batch: Batch,
    backend: str,
    family: str,
    quantization: str,
) -> None:
    session = opened(backend, family, quantization)
    source = model_of(family, **SIZES)
    plain = open_session(backend, unpacked_folder(source, session, tmp_path / "plain"))
    logits, wanted = session.logits(batch), plain.logits(batch)
    assert np.abs(logits - wanted).max() < AGREE * np.abs(wanted).max()
    rows, told = session.logprobs(batch).rows, plain.logprobs(batch).rows
    assert np.allclose(rows, told, rtol=1e-4, atol=1e-4)
    prompts = [[5, 9, 33, 70], [8, 4]]
    greedy = GenerateSpec(max_tokens=6, stop_ids=())
    ids = [[one.ids for one in each.generate(prompts, greedy)] for each in (session, plain)]
    assert ids[0] == ids[1]
    gradients = []
    for each in (session, plain):
        put(each, "topic", LORA, seed=11)
        learner = each.learner(Objective("sft"), OptimizerSpec())
        gradients.append(learner.gradients(batch, window_of(batch)))
    (loss, found), (other, expected) = gradients
    assert loss == pytest.approx(other, rel=1e-4)
    for name, gradient in expected.items():
        scale = np.linalg.norm(gradient) or 1.0
        assert np.linalg.norm(found[name] - gradient) < 1e-3 * scale, name


@pytest.mark.parametrize("quantization", ["4bit", "8bit"])
def test_it_says_how_it_is_packed_and_is_another_model(
    opened: Opened, backend: str, quantization: str
) -> None:
    session, plain = opened(backend, "llama", quantization), opened(backend, "llama", "none")
    told = {choice.key: choice for choice in session.choices}["model.quantization"]
    kind = {
        "torch": {"4bit": "nf4 in blocks of 64", "8bit": "int8 by rows"},
        "mlx": {"4bit": "4-bit in groups of 64", "8bit": "8-bit in groups of 64"},
    }[backend][quantization]
    assert session.info.quantization.startswith(kind) and session.info.quantization == told.name
    assert told.because.startswith("named; ")
    assert plain.info.quantization == "none"
    assert "model.quantization" not in {choice.key for choice in plain.choices}
    assert list(plain.unpacked()) == []
    assert session.info.parameters == plain.info.parameters
    assert (session.info.hidden, session.info.vocabulary) == (64, plain.info.vocabulary)
    ids = {session.model_id, plain.model_id, opened(backend, "llama", "4bit").model_id}
    assert len(ids) == (2 if quantization == "4bit" else 3)


def test_each_backends_packed_weights_are_another_model(opened: Opened) -> None:
    ids = [opened(name, "llama", "4bit").model_id for name in BACKENDS]
    plain = [opened(name, "llama", "none").model_id for name in BACKENDS]
    assert plain[0] == plain[1] and len({*ids, *plain}) == 3


@pytest.mark.parametrize("quantization", ["4bit", "8bit"])
def test_sft_and_dpo_leave_the_base_alone(
    opened: Opened, batch: Batch, backend: str, quantization: str
) -> None:
    session = opened(backend, "llama", quantization)
    base, adapters = session.adapters.base_fingerprint(), session.adapters
    packed = {name.removesuffix(".weight") for name, _ in session.unpacked()}
    for path in packed:  # not the packed numbers alone, but what unpacks them too
        assert len([name for name in base if name.startswith(f"{path}.")]) > 1
    logits = session.logits(batch)
    adapters.add(LORA, "topic")
    assert adapters.trainable().keys() == adapters.parameters().keys()
    assert set(adapters.trainable()) == expected_names(session, packed)
    assert np.array_equal(session.logits(batch), logits)  # B is zero: nothing is added
    losses = list(steps(session, Objective("sft"), batch))
    assert losses[-1] < 0.9 * losses[0]
    pairs = with_reference(preference_batch(np.random.default_rng(5)), session)
    preferences = list(steps(session, Objective("dpo"), pairs))
    assert preferences[0] == pytest.approx(math.log(2), abs=1e-4)
    assert preferences[-1] < preferences[0]
    with pytest.raises(MergeRefused) as refused:
        adapters.merge_and_unload()
    assert "handoff: stack" in refused.value.hint
    assert adapters.active() == ("topic",)
    trained = session.logits(batch)
    adapters.freeze("topic")
    assert adapters.trainable() == {}
    assert np.abs(session.logits(batch) - trained).max() < AGREE * np.abs(trained).max()
    assert adapters.base_fingerprint() == base
    adapters.unload("topic")
    assert np.array_equal(session.logits(batch), logits)
    assert adapters.base_fingerprint() == base


def expected_names(session: Session, packed: set[str]) -> set[str]:
    """Of LoRA's two factors on every packed layer but embedding and head."""
    layers = {path for path in packed if path.startswith("model.layers.")}
    assert len(layers) == 7 * session.info.layers
    return {name for path in layers for name in shapes(LORA, path, 1, 1)}


def steps(session: Session, objective: Objective, batch: Batch, count: int = 8) -> Iterator[float]:
    learner = session.learner(objective, OptimizerSpec())
    for _ in range(count):
        yield learner.accumulate(batch, window_of(batch)).loss
        learner.apply(1e-2, 1.0)


def test_a_changed_scale_shows_in_the_fingerprint(opened: Opened, backend: str) -> None:
    """A packed weight is changed as much by what unpacks it as by its own bytes."""
    session = opened(backend, "llama", "4bit")
    before = session.adapters.base_fingerprint()
    if backend == "torch":
        layer = session.opened.model.get_submodule("model.layers.0.mlp.up_proj")  # type: ignore[attr-defined]
        layer.nested_absmax.data.mul_(1.01)
    else:
        layer = session._decoder.net.model.layers[0].mlp.up_proj  # type: ignore[attr-defined]
        layer.scales = layer.scales * 1.01
    after = session.adapters.base_fingerprint()
    changed = {name for name in before if before[name] != after[name]}
    assert len(changed) == 1 and changed.pop().startswith("model.layers.0.mlp.up_proj.")


@pytest.mark.parametrize("kind", ALL)
def test_every_kind_of_adapter_begins_as_the_base_and_learns(
    opened: Opened, batch: Batch, backend: str, kind: str
) -> None:
    session = opened(backend, "llama", "4bit")
    logits = session.logits(batch)
    session.adapters.add(ALL[kind], "topic")
    assert np.abs(session.logits(batch) - logits).max() < AGREE * np.abs(logits).max()
    losses = list(steps(session, Objective("sft"), batch, 4))
    assert losses[-1] < losses[0]
    trained = session.logits(batch)
    session.adapters.freeze("topic")
    assert np.abs(session.logits(batch) - trained).max() < AGREE * np.abs(trained).max()
    with pytest.raises(MergeRefused):
        session.adapters.merge_and_unload()


def test_rows_that_fill_no_group_stay_as_they_are_and_are_told(
    open_session: OpenSession, model_of: ModelFolder, batch: Batch
) -> None:
    folder = model_of("llama", intermediate_size=64)  # hidden 48: only the rows of down_proj
    session = open_session("mlx", folder, quantization="4bit")
    told = {choice.key: choice for choice in session.choices}["model.quantization"]
    assert "no multiple of 32: " in told.because and "q_proj" in told.because
    packed = [name for name, _ in session.unpacked()]
    # Attention's output has rows of 4 heads of 16, which is 64.
    assert {name.split(".")[-2] for name in packed} == {"down_proj", "o_proj"}
    assert np.isfinite(session.logits(batch)).all()


def test_a_model_of_which_nothing_can_be_packed_is_refused(
    open_session: OpenSession, model_of: ModelFolder
) -> None:
    folder = model_of("llama", num_attention_heads=3, num_key_value_heads=1)
    with pytest.raises(ModelError, match="no layer of this model can be packed") as caught:
        open_session("mlx", folder, quantization="4bit")
    assert caught.value.where == "model.quantization"

"""Faulty model files and requests that make no sense: a ModelError with its place, on both."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from backends.errors import ModelError
from tests.conformance.conftest import ModelFolder, OpenSession
from tests.tiny import random_batch

FILE, INDEX = "model.safetensors", "model.safetensors.index.json"
CONFIGS: list[dict[str, Any]] = [
    {"num_attention_heads": 0},
    {"num_attention_heads": 5},
    {"num_key_value_heads": 0},
    {"num_key_value_heads": 3},
    {"hidden_size": 0},
    {"hidden_size": -4},
    {"hidden_size": "wide"},
    {"num_hidden_layers": 0},
    {"vocab_size": 0},
    {"vocab_size": -1},
    {"intermediate_size": 0},
    {"head_dim": 7},
    {"max_position_embeddings": -1},
    {"rope_parameters": {"rope_type": "spiral", "rope_theta": 1e4}},
    {"rope_parameters": {"rope_type": "default", "rope_theta": "x"}},
    {"rope_parameters": {"rope_type": "yarn", "rope_theta": 1e4}},
    {"rope_parameters": {"rope_type": "llama3", "rope_theta": 1e4}},
    {"rope_parameters": {"rope_type": "longrope", "rope_theta": 1e4}},
    {"rope_parameters": 5},
    {"hidden_act": "nosuch"},
    {"model_type": ["llama"]},
    {"rms_norm_eps": "a"},
    {"dtype": "nosuch"},
    {"tie_word_embeddings": "maybe"},
]
INDEXES = (
    "nojson",
    "{}",
    "[]",
    '{"metadata": {}, "weight_map": 5}',
    '{"metadata": {}, "weight_map": []}',
    '{"metadata": {}, "weight_map": {}}',
    '{"metadata": {}, "weight_map": {"a": 5}}',
    '{"metadata": {}, "weight_map": {"a": "../other.safetensors"}}',
)


@pytest.fixture
def copy(model_of: ModelFolder, tmp_path: Path) -> Path:
    shutil.copytree(model_of("llama"), tmp_path / "model")
    return tmp_path / "model"


def configure(folder: Path, changes: dict[str, Any]) -> None:
    file = folder / "config.json"
    file.write_text(json.dumps({**json.loads(file.read_text("utf-8")), **changes}), "utf-8")


@pytest.mark.parametrize("changes", CONFIGS, ids=json.dumps)
def test_a_faulty_config(
    open_session: OpenSession, copy: Path, backend: str, changes: dict[str, Any]
) -> None:
    configure(copy, changes)
    with pytest.raises(ModelError) as found:
        open_session(backend, copy)
    assert found.value.where.startswith(str(copy))
    assert found.value.what and "\n" not in found.value.what


def shard(folder: Path) -> dict[str, str]:
    """The weights in two files; the map from names to files that an index holds."""
    tensors = load_file(folder / FILE)
    (folder / FILE).unlink()
    names = sorted(tensors)
    files = {"model-1.safetensors": names[::2], "model-2.safetensors": names[1::2]}
    for file, held in files.items():
        parts = {name: tensors[name] for name in held}
        save_file(parts, folder / file, metadata={"format": "pt"})
    return {name: file for file, held in files.items() for name in held}


@pytest.mark.parametrize("text", INDEXES)
def test_a_faulty_index(open_session: OpenSession, copy: Path, backend: str, text: str) -> None:
    shard(copy)
    (copy / INDEX).write_text(text, "utf-8")
    with pytest.raises(ModelError, match="index") as found:
        open_session(backend, copy)
    assert found.value.where == str(copy / INDEX)


def test_shards_are_read_by_the_index(open_session: OpenSession, copy: Path, backend: str) -> None:
    batch = random_batch(np.random.default_rng(121))
    before = open_session(backend, copy)
    names = shard(copy)
    (copy / INDEX).write_text(json.dumps({"metadata": {}, "weight_map": names}), "utf-8")
    session = open_session(backend, copy)
    assert np.array_equal(session.logits(batch), before.logits(batch))
    # What lies beside the model is not the model.
    shutil.copy(copy / "model-1.safetensors", copy / "consolidated.safetensors")
    assert open_session(backend, copy).model_id == session.model_id
    (copy / "model-2.safetensors").write_bytes(b"abc")
    with pytest.raises(ModelError, match="cannot read the weights") as found:
        open_session(backend, copy)
    assert found.value.where == str(copy / "model-2.safetensors")
    (copy / "model-2.safetensors").unlink()
    with pytest.raises(ModelError, match=r"weights are missing: model-2\.safetensors"):
        open_session(backend, copy)


@pytest.mark.parametrize(("kind", "told"), [("int8", "I8"), ("float8_e4m3fn", "F8_E4M3")])
def test_weights_that_are_no_plain_floats(
    open_session: OpenSession, copy: Path, backend: str, kind: str, told: str
) -> None:
    """Quantized weights without their scales load as numbers like any other."""
    import torch
    from safetensors.torch import load_file as load_torch
    from safetensors.torch import save_file as save_torch

    tensors = load_torch(copy / FILE)
    name = "model.layers.0.mlp.gate_proj.weight"
    tensors[name] = tensors[name].to(getattr(torch, kind))
    save_torch(tensors, copy / FILE, metadata={"format": "pt"})
    with pytest.raises(ModelError, match=f"`{name}` is {told}") as found:
        open_session(backend, copy)
    assert found.value.where == str(copy)


@pytest.mark.parametrize(
    ("asked", "where"),
    [
        ({"dtype": "half"}, "model.dtype"),
        ({"device": "cuda:0"}, "--device"),
        ({"device": "tpu"}, "--device"),
        ({"attention": "flash"}, "model.attention"),
        ({"revision": "main"}, "model.revision"),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else "",
)
def test_what_cannot_be_asked_for(
    open_session: OpenSession, copy: Path, backend: str, asked: dict[str, Any], where: str
) -> None:
    with pytest.raises(ModelError) as found:
        open_session(backend, copy, **asked)
    assert found.value.where == where
    assert str(next(iter(asked.values()))) in found.value.what or where == "model.revision"

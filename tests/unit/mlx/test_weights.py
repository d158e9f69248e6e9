"""A checkpoint's files: which of them, and nothing missing, left over or of another shape."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from backends import get
from backends.contract import ModelSpec, Session
from backends.errors import ModelError
from tests.tiny import make_model, random_batch

FILE = "model.safetensors"


def opened(folder: Path) -> Session:
    return get("mlx").open(ModelSpec(str(folder), dtype="float32", device="cpu"))


def logits(folder: Path) -> np.ndarray[Any, Any]:
    session = opened(folder)
    found = session.logits(random_batch(np.random.default_rng(0)))
    session.close()
    return found


def test_shards_by_the_index_and_nothing_else(tmp_path: Path) -> None:
    make_model(tmp_path, "llama")
    whole = logits(tmp_path)
    tensors = load_file(tmp_path / FILE)
    (tmp_path / FILE).unlink()
    names = sorted(tensors)
    parts = {"model-1.safetensors": names[::2], "model-2.safetensors": names[1::2]}
    for file, held in parts.items():
        save_file({name: tensors[name] for name in held}, tmp_path / file)
    # Mistral's folders carry the same weights once more under other names.
    save_file({"layers.0.odd": tensors[names[0]]}, tmp_path / "consolidated.safetensors")
    with pytest.raises(ModelError, match="which of these is the model"):
        opened(tmp_path)
    index = tmp_path / "model.safetensors.index.json"
    weight_map = {name: file for file, held in parts.items() for name in held}
    index.write_text(json.dumps({"weight_map": weight_map}), "utf-8")
    assert np.array_equal(logits(tmp_path), whole)
    (tmp_path / "model-2.safetensors").unlink()
    with pytest.raises(ModelError, match=r"weights are missing: model-2\.safetensors"):
        opened(tmp_path)
    index.write_text("{}", "utf-8")
    with pytest.raises(ModelError, match="cannot read the weights' index"):
        opened(tmp_path)


@pytest.mark.parametrize("family", ["llama", "gemma3_text"])
def test_an_untied_model_without_a_head_is_refused(tmp_path: Path, family: str) -> None:
    make_model(tmp_path, family, tie_word_embeddings=False)
    tensors = load_file(tmp_path / FILE)
    del tensors["lm_head.weight"]
    save_file(tensors, tmp_path / FILE)
    with pytest.raises(ModelError, match=r"`lm_head\.weight` is missing"):
        opened(tmp_path)


def test_faults_are_gathered(tmp_path: Path) -> None:
    make_model(tmp_path, "llama")
    tensors = load_file(tmp_path / FILE)
    norm = tensors.pop("model.norm.weight")
    odd = "model.layers.0.self_attn.q_proj.weight"
    tensors[odd] = np.ascontiguousarray(tensors[odd].T)
    gate = "model.layers.0.mlp.gate_proj.weight"
    tensors[gate] = tensors[gate].astype(np.int8)
    save_file({**tensors, "model.extra": norm}, tmp_path / FILE)
    with pytest.raises(ModelError) as found:
        opened(tmp_path)
    told = str(found.value)
    assert "`model.norm.weight` is missing" in told
    assert "`model.extra` is not the model's" in told
    assert f"`{odd}` is (48, 64), the config says (64, 48)" in told
    assert "which is no plain float" in told


def test_a_broken_file_is_named(tmp_path: Path) -> None:
    make_model(tmp_path, "llama")
    (tmp_path / FILE).write_bytes(b"not weights")
    with pytest.raises(ModelError, match="cannot read the weights") as found:
        opened(tmp_path)
    assert found.value.where.endswith(FILE)

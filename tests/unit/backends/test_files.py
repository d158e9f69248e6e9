"""A hub model's files, and adapter configurations that name no adapter."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from huggingface_hub.utils import filter_repo_objects
from safetensors.numpy import save_file

from backends import adapter_files, model_files, peft_files
from backends.contract import AdapterSpec
from backends.errors import AdapterError

REPOSITORY = [
    ".gitattributes",
    "README.md",
    "config.json",
    "consolidated.safetensors",
    "consolidated-00001-of-00002.safetensors",
    "coreml/weights.safetensors",
    "generation_config.json",
    "merges.txt",
    "model-00001-of-00002.safetensors",
    "model-00002-of-00002.safetensors",
    "model.safetensors.index.json",
    "onnx/config.json",
    "original/params.json",
    "pytorch_model.bin",
    "chat_template.jinja",
    "tokenizer.json",
    "tokenizer.model",
    "tokenizer_config.json",
]


def test_only_the_models_own_files_are_downloaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The hub's own filter over a repository such as Mistral's; the network alone stands aside."""
    asked: dict[str, Any] = {}

    def snapshot(repository: str, **settings: Any) -> str:
        asked.update(settings, repository=repository)
        (tmp_path / "config.json").write_text("{}", "utf-8")
        (tmp_path / "model.safetensors").write_bytes(b"")
        return str(tmp_path)

    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot)
    assert model_files.resolve("owner/name", "v1") == tmp_path
    assert (asked["repository"], asked["revision"]) == ("owner/name", "v1")
    taken = filter_repo_objects(
        REPOSITORY, allow_patterns=asked["allow_patterns"], ignore_patterns=asked["ignore_patterns"]
    )
    assert list(taken) == [
        "config.json",
        "generation_config.json",
        "merges.txt",
        "model-00001-of-00002.safetensors",
        "model-00002-of-00002.safetensors",
        "model.safetensors.index.json",
        "chat_template.jinja",
        "tokenizer.json",
        "tokenizer.model",
        "tokenizer_config.json",
    ]


def test_a_models_hash_is_of_its_own_files(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}", "utf-8")
    save_file({"a": np.ones(3, dtype=np.float32)}, tmp_path / "model.safetensors")
    before = model_files.model_id(tmp_path)
    save_file({"a": np.zeros(3, dtype=np.float32)}, tmp_path / "consolidated.safetensors")
    assert model_files.model_id(tmp_path) == before
    save_file({"a": np.zeros(3, dtype=np.float32)}, tmp_path / "model.safetensors")
    assert model_files.model_id(tmp_path) != before


@pytest.fixture
def adapter(tmp_path: Path) -> Path:
    tensors = {
        "model.layers.0.mlp.down_proj.lora_A": np.ones((2, 5), dtype=np.float32),
        "model.layers.0.mlp.down_proj.lora_B": np.ones((3, 2), dtype=np.float32),
    }
    spec = AdapterSpec(rank=2, alpha=4.0)
    peft_files.write(tmp_path, spec, tensors, base="base", linears=["model.layers.0.mlp.down_proj"])
    return tmp_path


def configure(folder: Path, **changes: Any) -> None:
    file = folder / peft_files.CONFIG
    file.write_text(json.dumps({**json.loads(file.read_text("utf-8")), **changes}), "utf-8")


@pytest.mark.parametrize(
    "changes",
    [
        *({"r": value} for value in (None, "x", 0, -1, 1.5, True, 10**400)),
        *({"lora_alpha": value} for value in (None, "16", True, float("nan"), 10**400)),
        *({"lora_dropout": value} for value in (None, "0", 1.0, -0.1, 10**400)),
        *({"target_modules": value} for value in (5, {"a": 1}, [1, 2])),
        *(
            {"init_lora_weights": value}
            for value in ("pissa_niter_4", "olora", "loftq", "corda", 1)
        ),
        *({key: {"x": 1}} for key in ("arrow_config", "kasa_config", "velora_config")),
        *({key: True} for key in ("use_bdlora", "use_qalora", "lora_bias")),
        {"monteclora_config": {"x": 1}},
        {"trainable_token_indices": [3]},
        {"bias": "all"},
        {"peft_type": "LOHA"},
    ],
    ids=json.dumps,
)
def test_a_faulty_adapter_configuration(adapter: Path, changes: dict[str, Any]) -> None:
    configure(adapter, **changes)
    with pytest.raises(AdapterError) as found:
        peft_files.read(adapter)
    assert found.value.where == str(adapter / peft_files.CONFIG)
    assert next(iter(changes)) in found.value.what or "biases" in found.value.what


@pytest.mark.parametrize("init", [True, False, None, "gaussian", "Gaussian", "eva", "orthogonal"])
def test_initial_values_of_the_factors_alone_are_taken(adapter: Path, init: object) -> None:
    configure(adapter, init_lora_weights=init, target_modules=r".*\.down_proj")
    spec, params = peft_files.read(adapter)
    assert (spec.rank, spec.alpha, len(params)) == (2, 4.0, 2)
    assert spec.targets == (r".*\.down_proj",)


@pytest.mark.parametrize("data", [b"", b"xx", b"\xff" * 64])
def test_a_faulty_adapter_file(adapter: Path, data: bytes) -> None:
    (adapter / peft_files.WEIGHTS).write_bytes(data)
    with pytest.raises(AdapterError, match="cannot read the adapter") as found:
        peft_files.read(adapter)
    assert found.value.where == str(adapter / peft_files.WEIGHTS)


@pytest.mark.parametrize("alpha", [1e300, 1.7e308])
def test_a_factor_beyond_float32_is_refused(adapter: Path, alpha: float) -> None:
    configure(adapter, lora_alpha=alpha)
    with pytest.raises(AdapterError, match="beyond the range of float32"):
        peft_files.header(adapter)


def test_a_pipe_is_not_waited_for(adapter: Path) -> None:
    (adapter / peft_files.WEIGHTS).unlink()
    os.mkfifo(adapter / peft_files.WEIGHTS)
    with pytest.raises(AdapterError, match="it is no regular file") as found:
        peft_files.read(adapter)
    assert found.value.where == str(adapter / peft_files.WEIGHTS)


def test_the_header_tells_of_every_tensor(adapter: Path) -> None:
    spec, held = peft_files.header(adapter)
    read, tensors = peft_files.read(adapter)
    assert spec == read
    assert {name: one.shape for name, one in held.items()} == {
        name: array.shape for name, array in tensors.items()
    }


def test_what_does_not_fit_is_refused_by_its_header(
    adapter: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    layer = "model.layers.0.mlp.down_proj"
    assert peft_files.read(adapter, {layer: (3, 5)})[0].rank == 2
    monkeypatch.setattr(adapter_files, "tensors", lambda file: pytest.fail("a tensor was read"))
    for sizes in ({layer: (3, 6)}, {"other": (3, 5)}):
        with pytest.raises(AdapterError, match="does not fit this model"):
            peft_files.read(adapter, sizes)


def test_other_numbers_than_floats_are_refused(adapter: Path) -> None:
    name = "base_model.model.model.layers.0.mlp.down_proj.lora_A.weight"
    save_file({name: np.ones((2, 5), dtype=np.int8)}, adapter / peft_files.WEIGHTS)
    with pytest.raises(AdapterError, match="stored as I8"):
        peft_files.read(adapter)

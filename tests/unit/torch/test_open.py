"""Opening: what is chosen and why, and what is refused."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, AutoModelForCausalLM

from backends import get
from backends.contract import ModelSpec
from backends.errors import BackendError, BackendUnavailable, ModelError, OutOfMemory
from backends.torch import choices
from tests.tiny import random_batch


def test_importing_the_backend_imports_no_framework() -> None:
    code = (
        "import sys, backends.torch; backends.torch.TorchBackend();"
        "sys.exit(int(bool({'torch', 'transformers', 'peft'} & set(sys.modules))))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_availability_names_versions_and_devices() -> None:
    found = get("torch").availability()
    assert found.ok, found.reason
    assert set(found.versions) == {"torch", "transformers", "peft", "bitsandbytes"}
    assert "cpu" in found.devices
    assert ("cuda" in found.devices) == torch.cuda.is_available()


def test_what_was_opened_is_said(model_of: Any, capfd: pytest.CaptureFixture[str]) -> None:
    folder = model_of("gemma3_text")
    capfd.readouterr()  # making it may print
    session = get("torch").open(ModelSpec(str(folder), device="cpu"))
    info = session.info
    assert (info.family, info.layers, info.hidden, info.vocabulary) == ("gemma3_text", 2, 48, 320)
    assert (info.window, info.tied, info.dtype, info.device) == (16, True, "float32", "cpu")
    chosen = {choice.key: choice for choice in session.choices}
    assert chosen.keys() == {"device", "model.dtype", "model.attention"}
    assert chosen["model.attention"].name == "sdpa"
    assert all(choice.because for choice in session.choices)
    assert chosen["device"].because == "named"
    assert capfd.readouterr() == ("", "")
    session.close()
    session.close()
    with pytest.raises(BackendError, match="closed"):
        session.logprobs(random_batch(np.random.default_rng(0)))


def test_a_cap_on_attention_scores_needs_eager(model_of: Any) -> None:
    folder = str(model_of("gemma3_text", attn_logit_softcapping=20.0))
    session = get("torch").open(ModelSpec(folder))
    assert session.choices[2].name == "eager"
    with pytest.raises(ModelError, match="sdpa leaves out"):
        get("torch").open(ModelSpec(folder, attention="sdpa"))


@pytest.mark.parametrize("device", ["cpu", "cuda", "mps"])
def test_attention_on_each_device(model_of: Any, device: str) -> None:
    """On MPS the fused kernel is wrong for rows whose keys are all masked (pytorch#167515)."""
    spec, config = ModelSpec("model"), AutoConfig.from_pretrained(model_of("llama"))
    found = choices.attention(spec, config, device, "float32")
    assert found.name == ("eager" if device == "mps" else "sdpa")
    assert ("padded prompts" in found.because) == (device == "mps")
    named = ModelSpec("model", attention="sdpa")
    assert choices.attention(named, config, device, "float32").because == "named"


def test_a_model_without_room(model_of: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 26.00 GiB.")

    for owner, name in ((AutoModelForCausalLM, "from_pretrained"), (torch.nn.Module, "to")):
        with monkeypatch.context() as inside:
            inside.setattr(owner, name, full)
            with pytest.raises(OutOfMemory, match="no room for the model") as found:
                get("torch").open(ModelSpec(str(model_of("llama"))))
        assert found.value.where == "model.path"


def test_devices_that_are_not_here_are_refused(model_of: Any) -> None:
    folder = str(model_of("llama"))
    cuda, mps = torch.cuda.is_available(), torch.backends.mps.is_available()
    wanted = [("cuda", cuda), ("mps", mps), ("gpu", cuda or mps)]
    for device, here in wanted:
        spec = ModelSpec(folder, device=device)  # type: ignore[arg-type]
        if here:
            assert get("torch").open(spec).info.device in {"cuda", "mps"}
        else:
            with pytest.raises(BackendUnavailable, match=f"no device `{device}`"):
                get("torch").open(spec)
    if not cuda:
        with pytest.raises(ModelError, match="flash_attention_2 needs CUDA"):
            get("torch").open(ModelSpec(folder, attention="flash_attention_2"))


def _copy(source: Path, target: Path, **changes: Any) -> Path:
    shutil.copytree(source, target)
    file = target / "config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))
    return target


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"model_type": "gpt2"}, "cannot serve the model family `gpt2`"),
        ({"quantization_config": {"bits": 4}}, "packed, which neither backend opens"),
        ({"num_hidden_layers": 3}, "missing keys: model.layers.2"),
        ({"num_hidden_layers": 1}, "unexpected keys: model.layers.1"),
        ({"intermediate_size": 96}, "transformers cannot open it|mismatched keys"),
        ({"hidden_size": "wide"}, "cannot read the config|cannot open it"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_a_model_that_does_not_fit_is_refused(
    model_of: Any, tmp_path: Path, changes: dict[str, Any], says: str
) -> None:
    folder = _copy(model_of("llama"), tmp_path / "model", **changes)
    with pytest.raises(ModelError, match=says):
        get("torch").open(ModelSpec(str(folder)))


def test_a_truncated_file_is_refused(model_of: Any, tmp_path: Path) -> None:
    folder = _copy(model_of("llama"), tmp_path / "model")
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:1000])
    with pytest.raises(ModelError, match="cannot read the weights") as found:
        get("torch").open(ModelSpec(str(folder)))
    assert found.value.where == str(file)


def test_a_missing_tensor_is_refused(model_of: Any, tmp_path: Path) -> None:
    folder = _copy(model_of("llama"), tmp_path / "model")
    file = folder / "model.safetensors"
    tensors = load_file(file)
    del tensors["model.layers.0.mlp.up_proj.weight"]
    save_file(tensors, file, metadata={"format": "pt"})
    with pytest.raises(ModelError, match=r"missing keys: model.layers.0.mlp.up_proj.weight"):
        get("torch").open(ModelSpec(str(folder)))

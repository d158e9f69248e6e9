"""Models whose files hold packed weights: who packed them, and what they stand for."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from backends import get
from backends.contract import ModelSpec, Session
from backends.errors import BackendUnavailable, ModelError
from backends.packed_files import packing, weights
from mindprint.footprint import read_sizes
from tests.tiny import make_model

SIZES = {"hidden_size": 64, "intermediate_size": 96}


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model(tmp_path_factory.mktemp("plain"), "qwen2", **SIZES)


@pytest.fixture(scope="module")
def by_bitsandbytes(plain: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Saved by transformers, 4-bit and 8-bit."""
    import torch
    from transformers import AutoModelForCausalLM, BitsAndBytesConfig

    found = {}
    for bits in ("4bit", "8bit"):
        more: dict[str, Any] = {}
        if bits == "4bit":
            more = {"bnb_4bit_quant_type": "nf4", "bnb_4bit_use_double_quant": True}
        config = BitsAndBytesConfig(**{f"load_in_{bits}": True}, **more)
        model = AutoModelForCausalLM.from_pretrained(
            plain, dtype=torch.float32, quantization_config=config, device_map={"": "cpu"}
        )
        found[bits] = tmp_path_factory.mktemp(bits)
        model.save_pretrained(found[bits])
    return found


@pytest.fixture(scope="module")
def by_mlx_lm(plain: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Saved by mlx-lm, in groups of 32: another group than a model is packed in by itself."""
    from mlx_lm.utils import load_model, quantize_model, save_config, save_model

    folder = tmp_path_factory.mktemp("mlx")
    model, config = load_model(plain)
    model, config = quantize_model(model, config, 32, 4)
    save_model(folder, model)
    save_config(config, folder / "config.json")
    return folder


def opened(backend: str, folder: Path, **fields: Any) -> Session:
    return get(backend).open(ModelSpec(str(folder), device="cpu", dtype="float32", **fields))


@pytest.mark.parametrize("bits", ["4bit", "8bit"])
def test_what_bitsandbytes_packed_opens_as_it_is(
    plain: Path, by_bitsandbytes: dict[str, Path], bits: str
) -> None:
    folder = by_bitsandbytes[bits]
    stored, named = opened("torch", folder), opened("torch", plain, quantization=bits)
    held, packed = dict(stored.unpacked()), dict(named.unpacked())
    assert held.keys() == packed.keys()
    assert all(np.array_equal(held[name], packed[name]) for name in held)
    assert stored.info.quantization == named.info.quantization
    assert stored.info.parameters == named.info.parameters
    assert stored.model_id != named.model_id
    told = {choice.key: choice for choice in stored.choices}["model.quantization"]
    assert told.because.startswith("as the model's files hold it; bitsandbytes")
    for session in (stored, named):
        session.close()


def test_what_mlx_lm_packed_opens_as_it_is(by_mlx_lm: Path) -> None:
    from mlx_lm.utils import load_model

    session = opened("mlx", by_mlx_lm)
    assert session.info.quantization == "4-bit in groups of 32"
    # Where transformers 5 writes the rotation's base mlx-lm does not look.
    theirs = load_model(by_mlx_lm, model_config={"rope_theta": 30000.0})[0]
    import mlx.core as mx

    ids = mx.array([[5, 9, 33, 70, 4]])
    wanted = np.array(theirs(ids).astype(mx.float32))
    found = np.array(session._decoder.logits(ids))  # type: ignore[attr-defined]
    assert np.abs(found - wanted).max() < 1e-5 * np.abs(wanted).max()
    session.close()


@pytest.mark.parametrize("backend", ["torch", "mlx"])
def test_headers_tell_the_matrices(
    plain: Path, by_bitsandbytes: dict[str, Path], by_mlx_lm: Path, backend: str
) -> None:
    """What a packed folder is counted as is what the plain one is counted as."""
    folders = [*by_bitsandbytes.values()] if backend == "torch" else [by_mlx_lm]
    for folder in folders:
        assert read_sizes(folder) == read_sizes(plain)
        shapes = {name: one.shape for name, one in weights(plain).items()}
        assert {name: one.shape for name, one in weights(folder).items()} == shapes
        assert any(one.packed for one in weights(folder).values())
    assert not any(one.packed for one in weights(plain).values())


def test_the_other_backend_says_who_packed_it(
    by_bitsandbytes: dict[str, Path], by_mlx_lm: Path
) -> None:
    for backend, folder, whose, other in (
        ("torch", by_mlx_lm, "mlx-lm", "mlx"),
        ("mlx", by_bitsandbytes["4bit"], "bitsandbytes", "torch"),
    ):
        with pytest.raises(ModelError, match=f"{whose} packed the model's weights") as caught:
            opened(backend, folder)
        assert f"--backend {other}" in caught.value.hint
        assert caught.value.where.endswith("config.json")


def test_packing_it_once_more_is_refused(by_bitsandbytes: dict[str, Path], by_mlx_lm: Path) -> None:
    for backend, folder in (("torch", by_bitsandbytes["8bit"]), ("mlx", by_mlx_lm)):
        with pytest.raises(ModelError, match="packed already") as caught:
            opened(backend, folder, quantization="4bit")
        assert caught.value.where.startswith("model.quantization")


@pytest.mark.parametrize("settings", [{"quant_method": "gptq", "bits": 4}, {"bits": 4}, "int4"])
@pytest.mark.parametrize("backend", ["torch", "mlx"])
def test_what_nobody_here_opens(plain: Path, tmp_path: Path, backend: str, settings: Any) -> None:
    folder = tmp_path / "model"
    shutil.copytree(plain, folder)
    file = folder / "config.json"
    tree = json.loads(file.read_text("utf-8"))
    file.write_text(json.dumps({**tree, "quantization_config": settings}), "utf-8")
    (folder / "model.safetensors").write_bytes(b"not looked at")
    with pytest.raises(ModelError, match="neither backend opens") as caught:
        opened(backend, folder)
    assert "model.quantization: 4bit" in caught.value.hint


def test_what_a_config_says() -> None:
    assert packing({}, "") is None and packing({"quantization": None}, "") is None
    ours = {"group_size": 64, "bits": 4, "model.embed_tokens": {"group_size": 32, "bits": 6}}
    found = packing({"quantization": ours, "quantization_config": ours}, "")
    assert found is not None and found.library == "mlx-lm" and found.settings == ours


def test_a_library_that_is_missing_is_told_before_a_weight_is_read(
    plain: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from backends.torch import quantization

    folder = tmp_path / "model"
    shutil.copytree(plain, folder)
    (folder / "model.safetensors").write_bytes(b"not looked at")
    monkeypatch.setitem(quantization.NEEDS, "bitsandbytes", "99")
    with pytest.raises(BackendUnavailable, match=r"bitsandbytes .*needs 99") as caught:
        opened("torch", folder, quantization="4bit")
    assert 'pip install "mindprint[quantized]"' in caught.value.hint


def test_a_device_that_cannot_is_told_before_a_weight_is_read(
    plain: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from backends.torch import quantization

    spec = ModelSpec(str(plain), quantization="4bit")
    with pytest.raises(ModelError, match="not on mps") as caught:
        quantization.check(spec, None, "mps", "config.json")
    assert caught.value.where == "model.quantization" and "--backend mlx" in caught.value.hint


def test_an_unknown_way_to_pack_is_refused(plain: Path) -> None:
    for backend in ("torch", "mlx"):
        with pytest.raises(ModelError, match="no quantization `3bit`") as caught:
            opened(backend, plain, quantization="3bit")
        assert caught.value.where == "model.quantization"

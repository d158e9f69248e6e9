"""A merged model's files: what is changed, what is left bit for bit, and what is refused."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from backends.contract import AdapterSpec
from backends.errors import AdapterError
from mindprint.export import tensors
from mindprint.export.folded import Folded
from tests.unit.export.test_numbers import nearest

CHANGED, KEPT, NORM = "model.layers.0.q_proj", "model.embed_tokens.weight", "model.norm.weight"


def base(folder: Path, dtype: torch.dtype = torch.bfloat16) -> Path:
    """Two shards, a norm in float32 among lower precision, and frequencies nobody needs."""
    folder.mkdir()
    generator = torch.Generator().manual_seed(0)
    first = {
        f"{CHANGED}.weight": torch.randn(9, 7, generator=generator).to(dtype),
        NORM: torch.randn(7, generator=generator),
        "model.rotary_emb.inv_freq": torch.ones(3),
    }
    second = {KEPT: torch.randn(11, 7, generator=generator).to(dtype)}
    save_file(first, folder / "model-00001-of-00002.safetensors")
    save_file(second, folder / "model-00002-of-00002.safetensors")
    names = dict.fromkeys(first, "model-00001-of-00002.safetensors")
    names[KEPT] = "model-00002-of-00002.safetensors"
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": names}))
    (folder / "config.json").write_text('{"model_type": "llama"}')
    return folder


def folded(path: str = CHANGED, size: float = 0.1, inputs: int = 7) -> Folded:
    rng = np.random.default_rng(1)
    a = rng.uniform(-1, 1, (2, inputs)).astype(np.float32)
    b = (size * rng.standard_normal((9, 2))).astype(np.float32)
    return Folded(AdapterSpec(rank=2, alpha=3.0), {f"{path}.lora_A": a, f"{path}.lora_B": b})


def read(folder: Path) -> dict[str, torch.Tensor]:
    held: dict[str, torch.Tensor] = {}
    for file in sorted(folder.glob("*.safetensors")):
        held |= load_file(file)
    return held


@pytest.mark.parametrize("block", [1, 14, 1 << 22])
@pytest.mark.parametrize("dtype", ["auto", "float32", "float16"])
def test_base_plus_change_rounded_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dtype: str, block: int
) -> None:
    """Whatever is worked on at a time, down to a single row."""
    monkeypatch.setattr(tensors, "BLOCK", block)
    source, change, out = base(tmp_path / "base"), folded(), tmp_path / "out"
    out.mkdir()
    written = tensors.write(source, change, out, dtype)
    before, after = read(source), read(out)
    wanted = torch.bfloat16 if dtype == "auto" else getattr(torch, dtype)
    a, b = (torch.from_numpy(change.tensors[f"{CHANGED}.lora_{kind}"]).double() for kind in "AB")
    exact = before[f"{CHANGED}.weight"].double() + 1.5 * b @ a
    digits, least = {torch.bfloat16: (8, -126), torch.float16: (11, -14)}.get(wanted, (24, -126))
    right = nearest(exact.numpy(), digits, least)
    assert np.array_equal(after[f"{CHANGED}.weight"].double().numpy(), right)
    assert torch.equal(after[KEPT], before[KEPT].to(wanted))
    assert torch.equal(after[NORM], before[NORM] if dtype == "auto" else before[NORM].to(wanted))
    lost = (after[f"{CHANGED}.weight"].double() - exact).norm() / (1.5 * b @ a).norm()
    assert written.error == pytest.approx(float(lost)) == tensors.loss(source, change, dtype)
    assert written.dtype == str(wanted).removeprefix("torch.") and written.layers == 1


def test_as_many_files_with_their_index(tmp_path: Path) -> None:
    source, out = base(tmp_path / "base"), tmp_path / "out"
    out.mkdir()
    tensors.write(source, folded(), out, "float32")
    index = json.loads((out / "model.safetensors.index.json").read_text())
    assert set(index["weight_map"]) == {f"{CHANGED}.weight", NORM, KEPT}
    assert (
        index["metadata"]["total_size"] == 4 * (63 + 7 + 77) == tensors.size_of(source, "float32")
    )
    for name, file in index["weight_map"].items():
        assert name in load_file(out / file)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (folded("model.layers.9.q_proj"), "no weight of `model.layers.9.q_proj`"),
        (folded(inputs=8), "does not fit this model"),
    ],
)
def test_a_layer_that_is_not_stored_is_refused_by_name(
    tmp_path: Path, change: Folded, told: str
) -> None:
    with pytest.raises(AdapterError, match=told):
        tensors.check_layers(base(tmp_path / "base"), change)


@pytest.mark.parametrize("block", [1, 14, 1 << 22])
def test_a_weight_that_is_scaled_goes_in_by_its_blocks_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block: int
) -> None:
    """c W0 + B A, as a DoRA leaves it; its change is all that is not W0."""
    monkeypatch.setattr(tensors, "BLOCK", block)
    source, out = base(tmp_path / "base"), tmp_path / "out"
    out.mkdir()
    c = np.linspace(-0.5, 2.0, 9)
    change = replace(folded(), c={CHANGED: c})
    written = tensors.write(source, change, out, "float32")
    a, b = (change.tensors[f"{CHANGED}.lora_{kind}"].astype(np.float64) for kind in "AB")
    w0 = read(source)[f"{CHANGED}.weight"].double().numpy()
    wanted = c[:, None] * w0 + 1.5 * b @ a
    after = read(out)[f"{CHANGED}.weight"].numpy()
    assert np.abs(after - wanted).max() <= 6e-8 * np.abs(wanted).max()  # rounded once
    lost = np.linalg.norm(after - wanted) / np.linalg.norm(wanted - w0)
    assert written.error == pytest.approx(float(lost), rel=1e-3)
    rows = list(tensors.rows_of(source)(CHANGED))
    assert np.array_equal(np.concatenate(rows), w0)
    assert len(rows) == {1: 9, 14: 5}.get(block, 1)

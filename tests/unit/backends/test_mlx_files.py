"""mlx-lm's adapter folder: what is written is read again, and what is no such thing is refused."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from backends import mlx_files
from backends.contract import AdapterSpec, Params, Spline
from backends.errors import AdapterError

DOWN, QUERY = "model.layers.0.mlp.down_proj", "model.layers.1.self_attn.q_proj"


def drawn(rank: int = 2) -> Params:
    rng = np.random.default_rng(0)
    shapes = {
        f"{DOWN}.lora_A": (rank, 5),
        f"{DOWN}.lora_B": (3, rank),
        f"{QUERY}.lora_A": (rank, 3),
        f"{QUERY}.lora_B": (4, rank),
    }
    return {name: rng.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}


SPEC = AdapterSpec(rank=2, alpha=3.0, dropout=0.1)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    mlx_files.write(tmp_path, SPEC, drawn(), base="base", layers=2)
    return tmp_path


def told(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "adapter_config.json").read_text("utf-8"))
    return found


def tell(folder: Path, config: Any) -> None:
    (folder / "adapter_config.json").write_text(json.dumps(config), "utf-8")


@pytest.mark.parametrize("scaling", ["standard", "rslora"])
def test_what_is_written_is_read(tmp_path: Path, scaling: Any) -> None:
    spec = AdapterSpec(rank=2, alpha=3.0, scaling=scaling, dropout=0.1)
    mlx_files.write(tmp_path, spec, drawn(), base="base", layers=2)
    assert mlx_files.is_mlx(tmp_path)
    found, tensors = mlx_files.read(tmp_path)
    assert (found.rank, found.dropout) == (2, 0.1)
    assert found.scale == pytest.approx(spec.scale, rel=1e-15)
    assert found.targets == ("mlp.down_proj", "self_attn.q_proj")
    assert tensors.keys() == drawn().keys()
    assert all(np.array_equal(tensors[name], array) for name, array in drawn().items())


def test_the_files_are_mlx_lms(folder: Path) -> None:
    """Factors transposed, the scale a number, keys without the block's number."""
    stored = load_file(folder / "adapters.safetensors")
    assert np.array_equal(stored[f"{DOWN}.lora_a"], drawn()[f"{DOWN}.lora_A"].T)
    assert np.array_equal(stored[f"{QUERY}.lora_b"], drawn()[f"{QUERY}.lora_B"].T)
    config = told(folder)
    assert config["fine_tune_type"] == "lora" and config["num_layers"] == 2
    assert config["lora_parameters"] == {
        "rank": 2,
        "scale": 1.5,
        "dropout": 0.1,
        "keys": ["mlp.down_proj", "self_attn.q_proj"],
    }


def test_equal_adapters_give_equal_bytes(folder: Path, tmp_path: Path) -> None:
    again = tmp_path / "again"
    backwards = dict(reversed(drawn().items()))
    mlx_files.write(again, SPEC, backwards, base="base", layers=2)
    for name in ("adapters.safetensors", "adapter_config.json"):
        assert (again / name).read_bytes() == (folder / name).read_bytes()


@pytest.mark.parametrize(
    ("path", "within"),
    [
        ("model.layers.3.self_attn.q_proj", "self_attn.q_proj"),
        ("layers.11.mlp.down_proj", "mlp.down_proj"),
        ("lm_head", "lm_head"),
        ("model.embed_tokens", "model.embed_tokens"),
    ],
)
def test_layers_are_named_as_within_a_block(path: str, within: str) -> None:
    assert mlx_files.within_block(path) == within


def test_half_precision_is_widened_exactly(folder: Path) -> None:
    stored = load_file(folder / "adapters.safetensors")
    halves = {name: array.astype(np.float16) for name, array in stored.items()}
    save_file(halves, folder / "adapters.safetensors")
    _, tensors = mlx_files.read(folder)
    found = tensors[f"{DOWN}.lora_A"]
    assert found.dtype == np.float32
    assert np.array_equal(found, halves[f"{DOWN}.lora_a"].T.astype(np.float32))


def test_a_configuration_without_a_type_is_lora(folder: Path) -> None:
    """As mlx-lm's older ones are."""
    config = told(folder)
    del config["fine_tune_type"]
    tell(folder, config)
    assert mlx_files.read(folder)[0].rank == 2


BROKEN: dict[str, tuple[dict[str, Any], str]] = {
    "no-rank": ({"rank": None}, "`rank` is None"),
    "zero-rank": ({"rank": 0}, "`rank` is 0"),
    "true-rank": ({"rank": True}, "`rank` is True"),
    "half-rank": ({"rank": 2.5}, "`rank` is 2.5"),
    "no-scale": ({"scale": None}, "`scale` is None"),
    "word-scale": ({"scale": "20"}, "`scale` is '20'"),
    "infinite-scale": ({"scale": float("inf")}, "`scale` is inf"),
    "dropout": ({"dropout": 1.0}, "`dropout` is 1.0"),
    "endless-rank": ({"rank": 10**400}, "`rank` is more than any of its tensors has"),
    "endless-scale": ({"scale": 10**400}, "`scale` is 1000"),
    "endless-dropout": ({"dropout": 10**400}, "`dropout` is 1000"),
    "huge-scale": ({"scale": 1e300}, "beyond the range of float32"),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_settings_that_cannot_be_are_refused(folder: Path, kind: str) -> None:
    changed, said = BROKEN[kind]
    config = told(folder)
    config["lora_parameters"].update(changed)
    tell(folder, config)
    with pytest.raises(AdapterError, match=said) as found:
        mlx_files.read(folder)
    assert found.value.where.endswith("adapter_config.json")


@pytest.mark.parametrize("kind", ["full", "", ["lora"]])
def test_other_kinds_of_training_are_refused(folder: Path, kind: Any) -> None:
    tell(folder, {**told(folder), "fine_tune_type": kind})
    with pytest.raises(AdapterError, match=re.escape(f"`fine_tune_type` is `{kind}`")):
        mlx_files.read(folder)


@pytest.mark.parametrize("config", [[], "lora", {}, {"lora_parameters": []}])
def test_no_configuration_of_mlx_lms(folder: Path, config: Any) -> None:
    tell(folder, config)
    with pytest.raises(AdapterError, match="not an adapter configuration of mlx-lm"):
        mlx_files.read(folder)


def test_files_that_cannot_be_read(folder: Path) -> None:
    (folder / "adapters.safetensors").write_bytes(b"\x00" * 30)
    with pytest.raises(AdapterError, match="cannot read the adapter"):
        mlx_files.read(folder)
    (folder / "adapters.safetensors").unlink()
    assert not mlx_files.is_mlx(folder)
    with pytest.raises(AdapterError, match="cannot read the adapter: there is no such file"):
        mlx_files.read(folder)
    os.mkfifo(folder / "adapters.safetensors")  # nobody writes to it: opening it would wait
    with pytest.raises(AdapterError, match="cannot read the adapter: it is no regular file"):
        mlx_files.read(folder)
    (folder / "adapter_config.json").write_text("{", "utf-8")
    with pytest.raises(AdapterError, match="cannot read the adapter"):
        mlx_files.read(folder)


def test_tensors_of_another_kind_are_refused(folder: Path) -> None:
    file = folder / "adapters.safetensors"
    stored = load_file(file)
    save_file({**stored, f"{DOWN}.m": np.ones(3, dtype=np.float32)}, file)
    with pytest.raises(AdapterError, match=r"unknown tensor `.*down_proj\.m`"):
        mlx_files.read(folder)
    save_file({name: array.astype(np.int32) for name, array in stored.items()}, file)
    with pytest.raises(AdapterError, match="is stored as I32"):
        mlx_files.read(folder)
    save_file({}, file)
    with pytest.raises(AdapterError, match="holds no tensor"):
        mlx_files.read(folder)


DORA = AdapterSpec(rank=2, alpha=3.0, kind="dora")


def with_magnitudes() -> Params:
    rng = np.random.default_rng(1)
    found = drawn()
    for path, out in ((DOWN, 3), (QUERY, 4)):
        found[f"{path}.lora_magnitude_vector"] = rng.uniform(0.5, 2, out).astype(np.float32)
    return found


def test_a_dora_keeps_its_magnitudes(tmp_path: Path) -> None:
    mlx_files.write(tmp_path, DORA, with_magnitudes(), base="base", layers=2)
    assert told(tmp_path)["fine_tune_type"] == "dora"
    stored = load_file(tmp_path / "adapters.safetensors")
    assert stored[f"{DOWN}.m"].shape == (3,)
    spec, tensors = mlx_files.read(tmp_path)
    assert spec.kind == "dora" and spec.scale == 1.5
    assert tensors.keys() == with_magnitudes().keys()
    assert all(np.array_equal(tensors[name], one) for name, one in with_magnitudes().items())
    held = mlx_files.header(tmp_path)[1]
    assert held[f"{DOWN}.lora_magnitude_vector"].shape == (3,)
    # the same tensors under LoRA's name are no LoRA
    tell(tmp_path, {**told(tmp_path), "fine_tune_type": "lora"})
    with pytest.raises(AdapterError, match=r"unknown tensor `.*down_proj\.m`"):
        mlx_files.read(tmp_path)


def test_a_kind_that_mlx_lm_has_not_is_not_written(tmp_path: Path) -> None:
    spec = AdapterSpec(rank=2, kind="lslora", spline=Spline())
    with pytest.raises(AdapterError, match="mlx-lm has no adapters of kind `lslora`"):
        mlx_files.write(tmp_path, spec, drawn(), base="base", layers=2)
    assert not list(tmp_path.iterdir())

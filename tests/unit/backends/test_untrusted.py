"""A model's folder that means harm: no pickle is read, no code is run, no header is believed."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import pytest

from backends import get
from backends.contract import ModelSpec
from backends.errors import AdapterError, ModelError
from backends.model_files import read_config, resolve
from backends.peft_files import read
from backends.weight_files import dtypes, headers
from mindprint.footprint import read_sizes
from mindprint.target import _layer_shapes
from tests.tiny import make_model, make_tokenizer

CONFIG = {"peft_type": "LORA", "r": 2, "lora_alpha": 4, "target_modules": ["q_proj"]}


def tensors(header: Any, length: int | None = None, data: bytes = b"\0" * 16) -> bytes:
    raw = json.dumps(header).encode() if not isinstance(header, bytes) else header
    return struct.pack("<Q", len(raw) if length is None else length) + raw + data


def one(start: int, end: int, shape: tuple[int, ...] = (2,)) -> dict[str, Any]:
    return {"dtype": "F32", "shape": list(shape), "data_offsets": [start, end]}


LIES = {
    "a header longer than the file": tensors({}, 2**40),
    "a header of 2**63": tensors({}, 2**63),
    "offsets that overlap": tensors({"a": one(0, 8), "b": one(4, 12)}),
    "offsets past the end": tensors({"a": one(0, 8), "b": one(8, 2**40)}),
    "offsets backwards": tensors({"a": one(8, 0)}),
    "a shape that overflows": tensors({"a": one(0, 8, (2**40, 2**40))}),
    "a shape of another size": tensors({"a": one(0, 16, (3,))}),
    "a kind of number that is none": tensors({"a": {**one(0, 8), "dtype": "X9"}}),
    "a negative shape": tensors({"a": one(0, 8, (-1, -2))}),
    "a shape that is no number": tensors({"a": {**one(0, 8), "shape": "ab"}}),
    "nested headers": tensors(b'{"a":' + b"[" * 10_000),
    "headers nested deeper": tensors(b"[" * 100_000),
    "no header": b"",
    "a pickle": b"\x80\x04\x95" + b"." * 40,
}


@pytest.mark.parametrize("lie", LIES)
def test_headers_that_lie(tmp_path: Path, lie: str) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "llama"}', "utf-8")
    (tmp_path / "model.safetensors").write_bytes(LIES[lie])
    with pytest.raises(ModelError, match="cannot read the weights"):
        dtypes(tmp_path)
    for reader in (headers, read_sizes, _layer_shapes):
        with pytest.raises(ModelError, match="cannot read the weights"):
            reader(tmp_path)
    (tmp_path / "adapter_config.json").write_text(json.dumps(CONFIG), "utf-8")
    (tmp_path / "adapter_model.safetensors").write_bytes(LIES[lie])
    with pytest.raises(AdapterError):
        read(tmp_path)


@pytest.mark.parametrize("suffix", [".bin", ".pt", ".ckpt"])
def test_pickles_are_refused_with_the_reason(tmp_path: Path, suffix: str) -> None:
    (tmp_path / "adapter_config.json").write_text(json.dumps(CONFIG), "utf-8")
    (tmp_path / f"adapter_model{suffix}").write_bytes(b"\x80\x04.")
    with pytest.raises(AdapterError, match="is a pickle, which can run code when read"):
        read(tmp_path)
    (tmp_path / "config.json").write_text('{"model_type": "llama"}', "utf-8")
    (tmp_path / f"pytorch_model{suffix}").write_bytes(b"\x80\x04.")
    with pytest.raises(ModelError, match="is a pickle, which can run code when read"):
        resolve(str(tmp_path))


@pytest.mark.parametrize("content", [b"[" * 200_000, b'{"a":' * 50_000, b"\xff", b"", b"3"])
def test_configs_that_are_none(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "config.json").write_bytes(content)
    with pytest.raises(ModelError):
        read_config(tmp_path)


def evil(folder: Path, ran: Path, **config: Any) -> None:
    """Code beside the model, named by its configuration, that leaves a mark when it runs."""
    (folder / "evil.py").write_text(f"open({str(ran)!r}, 'w').close()\nEvil = object\n", "utf-8")
    auto = {"AutoConfig": "evil.Evil", "AutoModelForCausalLM": "evil.Evil"}
    path = folder / "config.json"
    had = json.loads(path.read_text("utf-8"))
    path.write_text(json.dumps({**had, "auto_map": auto, **config}), "utf-8")


@pytest.mark.parametrize("backend", ["torch", "mlx"])
def test_code_in_the_folder_is_never_run(tmp_path: Path, backend: str) -> None:
    pytest.importorskip(backend if backend == "torch" else "mlx.core")
    folder = make_tokenizer(make_model(tmp_path / "model", "llama"))
    ran = tmp_path / "ran"
    evil(folder, ran)
    spec = ModelSpec(str(folder), dtype="float32", device="cpu", longest_row=16)
    get(backend).open(spec).close()  # transformers' own Llama serves it
    assert not ran.exists()
    evil(folder, ran, model_type="evil\x1b[2J")
    with pytest.raises(ModelError, match="which mindprint never runs") as raised:
        get(backend).open(spec)
    assert not ran.exists() and "\x1b" not in raised.value.what

"""mlx-lm's adapter folder, written and read without MLX.

mlx-lm keeps the factors transposed (`lora_a` [in, rank], `lora_b` [rank, out]), their scale as a
number of its own, and names the adapted layers once for all blocks.
"""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, deserialize
from safetensors.numpy import save

from backends.contract import AdapterSpec, Params
from backends.errors import AdapterError
from backends.json_files import json_of
from backends.lora import name_a, name_b
from backends.weight_files import widened

CONFIG = "adapter_config.json"
WEIGHTS = "adapters.safetensors"
_BLOCK = re.compile(r"(?:.*\.)?layers\.\d+\.(?P<within>.+)")


def is_mlx(folder: Path) -> bool:
    """Whether a folder is an adapter as mlx-lm writes it."""
    return (folder / WEIGHTS).is_file()


def within_block(path: str) -> str:
    """`model.layers.3.self_attn.q_proj` -> `self_attn.q_proj`; a layer outside the blocks keeps its
    whole path, as mlx-lm's `keys` have it."""
    found = _BLOCK.fullmatch(path)
    return found["within"] if found else path


def write(folder: Path, spec: AdapterSpec, tensors: Params, *, base: str, layers: int) -> None:
    """Write `tensors` (contract names). `layers`: how many blocks the model has. mlx-lm wraps every
    layer of `keys` in every block, so blocks that lack one get zeros, which change nothing."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = list(dict.fromkeys(name.rsplit(".", 1)[0] for name in tensors))
    stored: dict[str, NDArray[np.float32]] = {}
    for path in paths:
        stored[f"{path}.lora_a"] = np.ascontiguousarray(tensors[name_a(path)].T, dtype=np.float32)
        stored[f"{path}.lora_b"] = np.ascontiguousarray(tensors[name_b(path)].T, dtype=np.float32)
    config = {
        "fine_tune_type": "lora",
        "lora_parameters": {
            "dropout": spec.dropout,
            "keys": sorted({within_block(path) for path in paths}),
            "rank": spec.rank,
            "scale": spec.scale,
        },
        "model": base,
        "num_layers": layers,
    }
    (folder / WEIGHTS).write_bytes(save(dict(sorted(stored.items()))))
    (folder / CONFIG).write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", "utf-8")


def read(folder: Path) -> tuple[AdapterSpec, Params]:
    """The spec and tensors (contract names) of a LoRA folder of mlx-lm.

    Raises AdapterError for anything that would not be applied as it was trained.
    """
    where = str(folder / CONFIG)
    try:
        config = json_of(folder / CONFIG)
    except (OSError, ValueError) as error:
        raise AdapterError(f"cannot read the adapter: {error}", where=where) from error
    if not isinstance(config, dict) or not isinstance(config.get("lora_parameters"), dict):
        raise AdapterError("not an adapter configuration of mlx-lm", where=where)
    kind = config.get("fine_tune_type", "lora")
    if kind != "lora":
        raise AdapterError(
            f"`fine_tune_type` is `{kind}`, which mindprint does not adopt", where=where
        )
    given: dict[str, Any] = config["lora_parameters"]
    rank, scale = given.get("rank"), given.get("scale")
    if not isinstance(rank, int) or isinstance(rank, bool) or rank < 1:
        raise AdapterError(f"`rank` is {rank!r}, not a rank of at least 1", where=where)
    if not isinstance(scale, int | float) or isinstance(scale, bool) or not math.isfinite(scale):
        raise AdapterError(f"`scale` is {scale!r}, not a number", where=where)
    tensors = _contract_names(folder / WEIGHTS)
    targets = tuple(sorted({within_block(name.rsplit(".", 1)[0]) for name in tensors}))
    dropout = given.get("dropout", 0.0)
    if not isinstance(dropout, int | float) or isinstance(dropout, bool) or not 0 <= dropout < 1:
        raise AdapterError(f"`dropout` is {dropout!r}, not a share below 1", where=where)
    spec = AdapterSpec(
        rank=rank, alpha=float(scale) * rank, targets=targets, dropout=float(dropout)
    )
    return spec, tensors


def _contract_names(file: Path) -> Params:
    try:
        found: list[tuple[str, dict[str, Any]]] = deserialize(file.read_bytes())  # type: ignore[no-untyped-call]
    except (OSError, SafetensorError) as error:
        raise AdapterError(f"cannot read the adapter: {error}", where=str(file)) from error
    tensors: Params = {}
    for stored, held in found:
        path, _, kind = stored.rpartition(".")
        name = {"lora_a": name_a(path), "lora_b": name_b(path)}.get(kind)
        if name is None:
            raise AdapterError(f"unknown tensor `{stored}`", where=str(file))
        tensors[name] = np.ascontiguousarray(widened(stored, held, file).T)
    if not tensors:
        raise AdapterError("the adapter holds no tensor", where=str(file))
    return tensors

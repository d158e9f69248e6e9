"""mlx-lm's adapter folder, written and read without MLX.

mlx-lm keeps the factors transposed (`lora_a` [in, rank], `lora_b` [rank, out]), their scale as a
number of its own, and names the adapted layers once for all blocks.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from reprlib import repr as short
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save

from backends import adapter_files
from backends.contract import AdapterSpec, Params
from backends.errors import AdapterError
from backends.json_files import json_of
from backends.lora import name_a, name_b, paths_of
from backends.weight_files import Held

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
    paths = paths_of(tensors)
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
    spec, _ = header(folder)
    stored = adapter_files.tensors(folder / WEIGHTS)
    names = _contract_names(stored, folder)
    return spec, {name: np.ascontiguousarray(stored[own].T) for name, own in names.items()}


def header(folder: Path) -> tuple[AdapterSpec, dict[str, Held]]:
    """As `read`, but what the file's header says of each tensor, in the contract's orientation:
    none is read."""
    where = str(folder / CONFIG)
    given = _parameters(folder)
    rank, scale = given.get("rank"), adapter_files.finite(given.get("scale"))
    if not isinstance(rank, int) or isinstance(rank, bool) or rank < 1:
        raise AdapterError(f"`rank` is {short(rank)}, not a rank of at least 1", where=where)
    if scale is None:
        raise AdapterError(f"`scale` is {short(given.get('scale'))}, not a number", where=where)
    dropout = adapter_files.finite(given.get("dropout", 0.0))
    if dropout is None or not 0 <= dropout < 1:
        what = f"`dropout` is {short(given['dropout'])}, not a share below 1"
        raise AdapterError(what, where=where)
    stored = adapter_files.header(folder / WEIGHTS)
    if not stored:
        raise AdapterError("the adapter holds no tensor", where=str(folder / WEIGHTS))
    adapter_files.check_rank(rank, "rank", stored, where)
    names = _contract_names(stored, folder)
    spec = AdapterSpec(
        rank=rank,
        alpha=scale * rank,
        targets=tuple(sorted({within_block(path) for path in paths_of(names)})),
        dropout=dropout,
    )
    adapter_files.check_scale(spec, where)
    return spec, {
        name: replace(stored[own], shape=stored[own].shape[::-1]) for name, own in names.items()
    }


def _parameters(folder: Path) -> dict[str, Any]:
    """The configuration's `lora_parameters`. Raises AdapterError where it is not LoRA's."""
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
    found: dict[str, Any] = config["lora_parameters"]
    return found


def _contract_names(stored: Iterable[str], folder: Path) -> dict[str, str]:
    """Contract name -> the file's own. Raises AdapterError for a tensor that is no factor."""
    names: dict[str, str] = {}
    for own in stored:
        path, _, kind = own.rpartition(".")
        name = {"lora_a": name_a(path), "lora_b": name_b(path)}.get(kind)
        if name is None:
            raise AdapterError(f"unknown tensor `{own}`", where=str(folder / WEIGHTS))
        names[name] = own
    return names

"""mlx-lm's adapter folder, LoRA's or DoRA's, written and read without MLX.

mlx-lm keeps the factors transposed (`lora_a` [in, rank], `lora_b` [rank, out]), their scale as a
number of its own, and names the adapted layers once for all blocks. Its DoRA is PEFT's: the norm is
that of the weight with the scaled product on it, and a constant to the gradient; its `m` [out] is
PEFT's magnitude.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from reprlib import repr as short
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save

from backends import adapter_files
from backends.contract import AdapterSpec, Params
from backends.errors import AdapterError
from backends.json_files import json_of
from backends.lora import name_a, name_b, name_m, paths_of
from backends.weight_files import Held

CONFIG = "adapter_config.json"
WEIGHTS = "adapters.safetensors"
Kind = Literal["lora", "dora"]
KINDS: dict[str, Kind] = {"lora": "lora", "dora": "dora"}
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
    layer of `keys` in every block, so blocks that lack one get zeros, and under DoRA the norms of
    their own rows, which change nothing. Raises AdapterError for a kind that it does not have."""
    if spec.kind not in KINDS:
        raise AdapterError(f"mlx-lm has no adapters of kind `{spec.kind}`")
    folder.mkdir(parents=True, exist_ok=True)
    paths = paths_of(tensors)
    stored: dict[str, NDArray[np.float32]] = {}
    for path in paths:
        for own, name in _names(path, KINDS[spec.kind]).items():
            stored[own] = np.ascontiguousarray(tensors[name].T, dtype=np.float32)
    config = {
        "fine_tune_type": spec.kind,
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
    """The spec and tensors (contract names) of a LoRA or DoRA folder of mlx-lm.

    Raises AdapterError for anything that would not be applied as it was trained.
    """
    spec, _ = header(folder)
    stored = adapter_files.tensors(folder / WEIGHTS)
    names = _contract_names(stored, KINDS[spec.kind], folder)
    return spec, {name: np.ascontiguousarray(stored[own].T) for name, own in names.items()}


def header(folder: Path) -> tuple[AdapterSpec, dict[str, Held]]:
    """As `read`, but what the file's header says of each tensor, in the contract's orientation:
    none is read."""
    where = str(folder / CONFIG)
    kind, given = _parameters(folder)
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
    names = _contract_names(stored, kind, folder)
    spec = AdapterSpec(
        rank=rank,
        alpha=scale * rank,
        targets=tuple(sorted({within_block(path) for path in paths_of(names)})),
        dropout=dropout,
        kind=kind,
    )
    adapter_files.check_scale(spec, where)
    return spec, {
        name: replace(stored[own], shape=stored[own].shape[::-1]) for name, own in names.items()
    }


def _parameters(folder: Path) -> tuple[Kind, dict[str, Any]]:
    """The kind of adapter, and the configuration's `lora_parameters`. Raises AdapterError where it
    is neither LoRA's nor DoRA's."""
    where = str(folder / CONFIG)
    try:
        config = json_of(folder / CONFIG)
    except (OSError, ValueError) as error:
        raise AdapterError(f"cannot read the adapter: {error}", where=where) from error
    if not isinstance(config, dict) or not isinstance(config.get("lora_parameters"), dict):
        raise AdapterError("not an adapter configuration of mlx-lm", where=where)
    told = config.get("fine_tune_type", "lora")
    kind = KINDS.get(told) if isinstance(told, str) else None
    if kind is None:
        raise AdapterError(
            f"`fine_tune_type` is `{told}`, which mindprint does not adopt", where=where
        )
    found: dict[str, Any] = config["lora_parameters"]
    return kind, found


def _names(path: str, kind: Kind) -> dict[str, str]:
    """The file's own name -> the contract's, of all tensors of a layer."""
    found = {f"{path}.lora_a": name_a(path), f"{path}.lora_b": name_b(path)}
    return found | {f"{path}.m": name_m(path)} if kind == "dora" else found


def _contract_names(stored: Iterable[str], kind: Kind, folder: Path) -> dict[str, str]:
    """Contract name -> the file's own. Raises AdapterError for a tensor that is none of such an
    adapter's."""
    names: dict[str, str] = {}
    for own in stored:
        name = _names(own.rpartition(".")[0], kind).get(own)
        if name is None:
            raise AdapterError(f"unknown tensor `{own}`", where=str(folder / WEIGHTS))
        names[name] = own
    return names

"""A checkpoint's tensors, read lazily from its safetensors files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import cast

from backends.errors import ModelError
from backends.mlx.framework import mx

INDEX = "model.safetensors.index.json"
_NOT_WEIGHTS = ("rotary_emb.inv_freq",)


def shards(folder: Path) -> list[Path]:
    """The files that make the model: those the index names, else the usual name, else the one."""
    index = folder / INDEX
    if index.is_file():
        try:
            names = sorted(set(json.loads(index.read_text("utf-8"))["weight_map"].values()))
        except (ValueError, KeyError, AttributeError) as error:
            raise ModelError("cannot read the weights' index", where=str(index)) from error
        files = [folder / name for name in names]
        missing = [file.name for file in files if not file.is_file()]
        if missing:
            raise ModelError(f"weights are missing: {', '.join(missing)}", where=str(folder))
        return files
    if (folder / "model.safetensors").is_file():
        return [folder / "model.safetensors"]
    found = sorted(folder.glob("*.safetensors"))
    if len(found) != 1:
        names_found = ", ".join(file.name for file in found)
        raise ModelError(f"which of these is the model: {names_found}?", where=str(folder))
    return found


def read(folder: Path, *, tied: bool) -> dict[str, mx.array]:
    """Name -> tensor, unevaluated. A tied model's stored head is its embedding, and left out."""
    tensors: dict[str, mx.array] = {}
    for file in shards(folder):
        try:
            tensors.update(cast(dict[str, mx.array], mx.load(str(file))))
        except (RuntimeError, ValueError) as error:
            raise ModelError(f"cannot read the weights: {error}", where=str(file)) from error
    return {
        name: tensor
        for name, tensor in tensors.items()
        if not name.endswith(_NOT_WEIGHTS) and not (tied and name == "lm_head.weight")
    }


def check(found: dict[str, mx.array], wanted: dict[str, mx.array], folder: Path) -> None:
    """Raises ModelError unless names and shapes are exactly the model's and all are floats."""
    faults = [f"`{name}` is missing" for name in sorted(wanted.keys() - found.keys())]
    faults += [f"`{name}` is not the model's" for name in sorted(found.keys() - wanted.keys())]
    for name in sorted(found.keys() & wanted.keys()):
        have, need = found[name], wanted[name]
        if have.shape != need.shape:
            faults.append(f"`{name}` is {have.shape}, the config says {need.shape}")
        elif not mx.issubdtype(have.dtype, mx.floating):
            faults.append(f"`{name}` is {have.dtype}, which is no plain float")
    if faults:
        more = f"; and {len(faults) - 4} more" if len(faults) > 4 else ""
        raise ModelError(
            f"the weights do not fit the config: {'; '.join(faults[:4])}{more}", where=str(folder)
        )

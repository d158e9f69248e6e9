"""A checkpoint's tensors, read lazily from its safetensors files."""

from __future__ import annotations

from pathlib import Path
from typing import cast

from backends import weight_files
from backends.errors import ModelError
from backends.mlx.framework import mx

EMBEDDING, HEAD = "model.embed_tokens.weight", "lm_head.weight"


def read(folder: Path) -> dict[str, mx.array]:
    """Name -> tensor, unevaluated."""
    tensors: dict[str, mx.array] = {}
    for file in weight_files.shards(folder):
        try:
            tensors.update(cast(dict[str, mx.array], mx.load(str(file))))
        except (RuntimeError, ValueError) as error:
            raise ModelError(f"cannot read the weights: {error}", where=str(file)) from error
    return {
        name: tensor
        for name, tensor in tensors.items()
        if not name.endswith(weight_files.NOT_WEIGHTS)
    }


def drop_equal_head(tensors: dict[str, mx.array], dtype: mx.Dtype) -> bool:
    """Of a model whose config ties its head: drop the stored one where it is the embedding in
    `dtype`, and say so. Another head is the model's own, whatever the config says: transformers 5
    then leaves the two untied."""
    if EMBEDDING not in tensors:
        return True
    embedding, head = (tensors[name].astype(dtype) for name in (EMBEDDING, HEAD))
    same = bool(mx.array_equal(embedding, head).item())
    if same:
        del tensors[HEAD]
    return same


def check(found: dict[str, mx.array], wanted: dict[str, mx.array], folder: Path) -> None:
    """Raises ModelError unless names and shapes are exactly the model's and all are floats."""
    kinds = weight_files.dtypes(folder)
    faults = [f"`{name}` is missing" for name in sorted(wanted.keys() - found.keys())]
    faults += [f"`{name}` is not the model's" for name in sorted(found.keys() - wanted.keys())]
    for name in sorted(found.keys() & wanted.keys()):
        have, need = found[name], wanted[name]
        if have.shape != need.shape:
            faults.append(f"`{name}` is {have.shape}, the config says {need.shape}")
        elif kinds[name] not in weight_files.FLOATS:
            faults.append(f"`{name}` is {kinds[name]}, which is no plain float")
    if faults:
        more = f"; and {len(faults) - 4} more" if len(faults) > 4 else ""
        raise ModelError(
            f"the weights do not fit the config: {'; '.join(faults[:4])}{more}", where=str(folder)
        )

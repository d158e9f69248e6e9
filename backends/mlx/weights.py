"""A checkpoint's tensors, read lazily from its safetensors files."""

from __future__ import annotations

from pathlib import Path
from typing import cast

from backends import weight_files
from backends.errors import ModelError
from backends.mlx.framework import mx
from backends.model_files import own_names

EMBEDDING, HEAD = "model.embed_tokens.weight", "lm_head.weight"
PACKED = {mx.uint32: frozenset({"U32"}), mx.uint8: frozenset({"U8"})}
"""What a packed weight and its coded scales are stored as."""
SCALES = "model.embed_tokens.scales"


def read(folder: Path) -> dict[str, mx.array]:
    """The model's own name -> tensor, unevaluated."""
    tensors: dict[str, mx.array] = {}
    for file in weight_files.shards(folder):
        try:
            tensors.update(cast(dict[str, mx.array], mx.load(str(file))))
        except (RuntimeError, ValueError) as error:
            raise ModelError(f"cannot read the weights: {error}", where=str(file)) from error
    names = own_names(folder, tensors)
    return {
        own: tensors[name]
        for own, name in names.items()
        if not name.endswith(weight_files.NOT_WEIGHTS)
    }


def drop_equal_head(tensors: dict[str, mx.array], dtype: mx.Dtype) -> bool:
    """Of a model whose config ties its head: drop the stored one where it is the embedding in
    `dtype`, and say so. Another head is the model's own, whatever the config says: transformers 5
    then leaves the two untied."""
    if EMBEDDING not in tensors:
        return True
    if SCALES in tensors:
        return _drop_packed_head(tensors)
    embedding, head = (tensors[name].astype(dtype) for name in (EMBEDDING, HEAD))
    same = bool(mx.array_equal(embedding, head).item())
    if same:
        del tensors[HEAD]
    return same


def _drop_packed_head(tensors: dict[str, mx.array]) -> bool:
    """The same of a head that is packed, with all that unpacks it."""
    own = [name for name in tensors if name.startswith(HEAD.removesuffix("weight"))]
    twins = [EMBEDDING.removesuffix("weight") + name.rpartition(".")[2] for name in own]
    same = all(
        twin in tensors
        and tensors[name].dtype == tensors[twin].dtype
        and bool(mx.array_equal(tensors[name], tensors[twin]).item())
        for name, twin in zip(own, twins, strict=True)
    )
    for name in own if same else ():
        del tensors[name]
    return same


def in_dtype(tensor: mx.array, dtype: mx.Dtype) -> mx.array:
    """Floats in `dtype`; packed numbers, and scales that are codes, as they are."""
    return tensor.astype(dtype) if mx.issubdtype(tensor.dtype, mx.floating) else tensor


def check(found: dict[str, mx.array], wanted: dict[str, mx.array], folder: Path) -> None:
    """Raises ModelError unless names and shapes are exactly the model's, and all are floats but
    what is packed."""
    told = weight_files.dtypes(folder)
    kinds = {own: told[name] for own, name in own_names(folder, told).items()}
    faults = [f"`{name}` is missing" for name in sorted(wanted.keys() - found.keys())]
    faults += [f"`{name}` is not the model's" for name in sorted(found.keys() - wanted.keys())]
    for name in sorted(found.keys() & wanted.keys()):
        have, need = found[name], wanted[name]
        if have.shape != need.shape:
            faults.append(f"`{name}` is {have.shape}, the config says {need.shape}")
        elif kinds[name] not in PACKED.get(need.dtype, weight_files.FLOATS):
            faults.append(f"`{name}` is {kinds[name]}, which is no plain float")
    if faults:
        more = f"; and {len(faults) - 4} more" if len(faults) > 4 else ""
        raise ModelError(
            f"the weights do not fit the config: {'; '.join(faults[:4])}{more}", where=str(folder)
        )

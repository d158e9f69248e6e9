"""A model's safetensors files: which of them make the model, and what kind of numbers they hold."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

from backends.errors import FAULTS, ModelError, reason
from backends.json_files import json_of

INDEX = "model.safetensors.index.json"
WHOLE = "model.safetensors"
FLOATS = frozenset({"F64", "F32", "F16", "BF16"})
NOT_WEIGHTS = ("rotary_emb.inv_freq",)
"""Checkpoints of 2023 carry the rotary frequencies, which follow from the config."""
PIECE = 1 << 20
"""Bytes of two tensors that are compared at a time."""


@dataclass(frozen=True)
class Held:
    """A tensor as the header of its file tells of it."""

    file: Path
    shape: tuple[int, ...]
    dtype: str


def shards(folder: Path) -> list[Path]:
    """The files that make the model, as transformers picks them: the usual name, else those that
    the index names, else the only one there is. Raises ModelError."""
    if (folder / WHOLE).is_file():
        return [folder / WHOLE]
    if (folder / INDEX).is_file():
        return _indexed(folder)
    found = sorted(folder.glob("*.safetensors"))
    if len(found) != 1:
        names = ", ".join(file.name for file in found) or "none"
        raise ModelError(f"which of these is the model: {names}?", where=str(folder))
    return found


def dtypes(folder: Path) -> dict[str, str]:
    """Tensor name -> safetensors' name of its dtype ("F32", "BF16", "I8", ...). Raises
    ModelError."""
    return {name: held.dtype for name, held in headers(folder).items()}


def headers(folder: Path) -> dict[str, Held]:
    """Tensor name -> what the files' headers say of it; these are checked against the files' sizes,
    and no tensor is read. Raises ModelError."""
    found: dict[str, Held] = {}
    for file in shards(folder):
        try:
            held = told(file)
        except (OSError, SafetensorError) as error:
            raise ModelError(f"cannot read the weights: {error}", where=str(file)) from error
        found |= {name: one for name, one in held.items() if not name.endswith(NOT_WEIGHTS)}
    return found


def told(file: Path) -> dict[str, Held]:
    """What one file's header says of each tensor. Raises OSError or SafetensorError."""
    with safe_open(file, framework="np") as opened:
        slices = {name: opened.get_slice(name) for name in opened.keys()}  # noqa: SIM118  # it is no mapping
        return {
            name: Held(file, tuple(part.get_shape()), str(part.get_dtype()))
            for name, part in slices.items()
        }


def equal(name: str, other: str, held: Mapping[str, Held]) -> bool:
    """Whether two tensors of `headers` are the same bytes. Raises ModelError."""
    one, two = held[name], held[other]
    if (one.shape, one.dtype) != (two.shape, two.dtype):
        return False
    start, end = span(one.file, name)
    begin, _ = span(two.file, other)
    try:
        return _same(one.file, start, two.file, begin, end - start)
    except OSError as error:
        what = f"cannot read the weights: {reason(error)}"
        raise ModelError(what, where=str(one.file)) from error


def _same(one: Path, start: int, two: Path, begin: int, size: int) -> bool:
    with one.open("rb") as left, two.open("rb") as right:
        left.seek(start)
        right.seek(begin)
        return all(
            left.read(part) == right.read(part)
            for part in (min(PIECE, size - place) for place in range(0, size, PIECE))
        )


def span(file: Path, name: str) -> tuple[int, int]:
    """A tensor's first byte in its file and the one after its last. safetensors has checked the
    header when it gave the shapes, but tells no places, and numpy has no bfloat16 to slice.
    Raises ModelError."""
    try:
        with file.open("rb") as stream:
            length = int.from_bytes(stream.read(8), "little")
            start, end = json.loads(stream.read(length))[name]["data_offsets"]
        return 8 + length + int(start), 8 + length + int(end)
    except FAULTS as error:
        what = f"cannot read the weights: {reason(error)}"
        raise ModelError(what, where=str(file)) from error


def from_bfloat16(data: bytes) -> NDArray[np.float32]:
    """Stored bfloat16 numbers, each the upper half of a float32, exactly."""
    return (np.frombuffer(data, dtype="<u2").astype(np.uint32) << 16).view(np.float32)


def check_floats(folder: Path) -> None:
    """Raises ModelError when a tensor is no plain float: quantized weights whose scales would be
    left out load as numbers like any other."""
    odd = [f"`{name}` is {kind}" for name, kind in dtypes(folder).items() if kind not in FLOATS]
    if odd:
        more = f"; and {len(odd) - 3} more" if len(odd) > 3 else ""
        raise ModelError(
            f"the weights are no plain floats: {'; '.join(sorted(odd)[:3])}{more}",
            where=str(folder),
            hint="open the unquantized model",
        )


def _indexed(folder: Path) -> list[Path]:
    index = folder / INDEX
    try:
        names = sorted(set(json_of(index)["weight_map"].values()))
        outside = [name for name in names if Path(name).name != name]
    except FAULTS as error:
        raise ModelError("cannot read the weights' index", where=str(index)) from error
    if outside or not names:
        what = f"names `{outside[0]}`, which is outside the folder" if outside else "names no file"
        raise ModelError(f"the weights' index {what}", where=str(index))
    missing = [name for name in names if not (folder / name).is_file()]
    if missing:
        raise ModelError(f"weights are missing: {', '.join(missing)}", where=str(folder))
    return [folder / name for name in names]

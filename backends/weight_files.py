"""A model's safetensors files: which of them make the model, and what kind of numbers they hold."""

from __future__ import annotations

from pathlib import Path

from safetensors import SafetensorError, safe_open

from backends.errors import FAULTS, ModelError
from backends.json_files import json_of

INDEX = "model.safetensors.index.json"
WHOLE = "model.safetensors"
FLOATS = frozenset({"F64", "F32", "F16", "BF16"})
NOT_WEIGHTS = ("rotary_emb.inv_freq",)
"""Checkpoints of 2023 carry the rotary frequencies, which follow from the config."""


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
    """Tensor name -> safetensors' name of its dtype ("F32", "BF16", "I8", ...), read off the files'
    headers, which are checked against the files' sizes. Raises ModelError."""
    found: dict[str, str] = {}
    for file in shards(folder):
        try:
            with safe_open(file, framework="np") as opened:
                for name in opened.keys():  # noqa: SIM118  # it is no mapping
                    found[name] = str(opened.get_slice(name).get_dtype())
        except (OSError, SafetensorError) as error:
            raise ModelError(f"cannot read the weights: {error}", where=str(file)) from error
    return {name: dtype for name, dtype in found.items() if not name.endswith(NOT_WEIGHTS)}


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

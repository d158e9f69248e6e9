"""An adapter's safetensors file: what its header says of it, and its tensors in float32."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, deserialize

from backends.contract import AdapterSpec, Params
from backends.errors import AdapterError
from backends.weight_files import Held, from_bfloat16, told

KINDS = frozenset({"F32", "BF16", "F16"})


def header(file: Path) -> dict[str, Held]:
    """Tensor name -> shape and dtype; no tensor is read, and nothing but a regular file is opened.

    Raises AdapterError for a file that cannot be read, and for numbers that are no floats of 32
    bits or fewer.
    """
    if not file.is_file():
        found = "it is no regular file" if file.exists() else "there is no such file"
        raise AdapterError(f"cannot read the adapter: {found}", where=str(file))
    try:
        held = told(file)
    except (OSError, SafetensorError) as error:
        raise AdapterError(f"cannot read the adapter: {error}", where=str(file)) from error
    for name, one in held.items():
        _check_kind(name, one.dtype, file)
    return held


def tensors(file: Path) -> Params:
    """The tensors of a file whose header was found good, widened to float32 exactly. Raises
    AdapterError."""
    try:
        found: list[tuple[str, dict[str, Any]]] = deserialize(file.read_bytes())  # type: ignore[no-untyped-call]
    except (OSError, SafetensorError) as error:
        raise AdapterError(f"cannot read the adapter: {error}", where=str(file)) from error
    return {name: _widened(name, held, file) for name, held in found}


def finite(value: Any) -> float | None:
    """A configuration's number; None for what is none, or is none that a float can hold."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        return None
    try:
        number = float(value)
    except OverflowError:  # an integer of hundreds of digits
        return None
    return number if np.isfinite(number) else None


def check_rank(rank: int, key: str, held: Mapping[str, Held], where: str) -> None:
    """Raises AdapterError for a rank that no tensor can have: it is a stranger's number, of any
    size, and the factor is worked out from it."""
    if held and rank > max(side for one in held.values() for side in (0, *one.shape)):
        raise AdapterError(f"`{key}` is more than any of its tensors has", where=where)


def check_scale(spec: AdapterSpec, where: str) -> None:
    """Raises AdapterError for a factor that is not finite in float32, which adapters act in."""
    if not abs(spec.scale) <= float(np.finfo(np.float32).max):
        what = f"its factor is {spec.scale:g}, which is beyond the range of float32"
        raise AdapterError(what, where=where)


def _check_kind(name: str, kind: str, file: Path) -> None:
    if kind not in KINDS:
        raise AdapterError(
            f"`{name}` is stored as {kind}, not as F32, BF16 or F16", where=str(file)
        )


def _widened(name: str, held: Mapping[str, Any], file: Path) -> NDArray[np.float32]:
    """A tensor as `safetensors.deserialize` gives it, in float32, exactly."""
    kind, data = held["dtype"], held["data"]
    _check_kind(name, kind, file)
    if kind == "BF16":
        flat = from_bfloat16(data)
    else:
        flat = np.frombuffer(data, dtype="<f4" if kind == "F32" else "<f2").astype(np.float32)
    return flat.reshape(held["shape"])

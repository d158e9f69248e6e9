"""How numbers are kept in safetensors files: widened exactly, rounded once, without a framework."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from backends.weight_files import from_bfloat16
from mindprint.errors import Exit, MindprintError

KINDS = {"float32": "F32", "bfloat16": "BF16", "float16": "F16"}
"""dtype -> safetensors' name of it."""
DTYPES = {kind: name for name, kind in KINDS.items()} | {"F64": "float64"}
BYTES = {"F64": 8, "F32": 4, "BF16": 2, "F16": 2}

Wide = NDArray[np.float64]


class OutOfRange(MindprintError):
    """A weight is larger than the dtype's largest number."""

    exit = Exit.GATE


def widened(data: bytes, kind: str) -> Wide:
    """Stored numbers in float64, exactly."""
    if kind == "BF16":
        return from_bfloat16(data).astype(np.float64)
    kinds = {"F64": "<f8", "F32": "<f4", "F16": "<f2"}
    return np.frombuffer(data, dtype=kinds[kind]).astype(np.float64)


def rounded(values: NDArray[np.float32] | Wide, kind: str, name: str) -> bytes:
    """Numbers as they are stored, rounded to the nearest, ties to even. Raises OutOfRange, naming
    the tensor, where a finite one would become infinite."""
    if kind == "F64":
        return values.astype("<f8").tobytes()
    with np.errstate(over="ignore"):
        if kind == "BF16":
            data = _bfloat16(_odd(values)).tobytes()
        else:
            data = values.astype("<f2" if kind == "F16" else "<f4").tobytes()
    if _infinities(data, kind) > int(np.isinf(values).sum()):
        raise OutOfRange(
            f"`{name}` holds numbers beyond the range of {DTYPES[kind]}",
            where="--dtype",
            hint="use `--dtype bfloat16` or `--dtype float32`, which have the range",
        )
    return data


def _odd(values: NDArray[np.float32] | Wide) -> NDArray[np.float32]:
    """Float32 to be rounded further: what is between two of them becomes the one whose last bit is
    set, so that it is never taken for a tie (Boldo & Melquiond 2005, rounding to odd)."""
    near = values.astype("<f4")
    if values.dtype == near.dtype:
        return near
    between = (near != values) & ~np.isnan(values)
    bits = near.view(np.uint32)
    bits -= (between & (np.abs(near) > np.abs(values))).astype(np.uint32)  # toward zero
    bits |= between.astype(np.uint32)
    return near


def _bfloat16(values: NDArray[np.float32]) -> NDArray[np.uint16]:
    """The upper half of each float32, rounded on the bits; NaN stays NaN."""
    bits = values.view(np.uint32)
    upper = (bits >> 16).astype("<u2")
    # What is cut off, and the last bit that stays: more than half, or half and odd, goes up.
    cut = (bits & np.uint32(0xFFFF)) + (upper & np.uint16(1))
    made = upper + (cut > 0x8000)
    nan = np.isnan(values)
    if nan.any():
        made[nan] = upper[nan] | np.uint16(0x40)
    return made.astype("<u2")


def _infinities(data: bytes, kind: str) -> int:
    """How many of stored numbers are infinite."""
    if kind == "F32":
        return int(np.isinf(np.frombuffer(data, dtype="<f4")).sum())
    sign, infinite = np.uint16(0x7FFF), 0x7C00 if kind == "F16" else 0x7F80
    return int(((np.frombuffer(data, dtype="<u2") & sign) == infinite).sum())

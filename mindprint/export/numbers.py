"""How numbers are kept in safetensors files: widened exactly, rounded once, without a framework."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

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
    if kind == "BF16":  # the upper half of a float32
        bits = np.frombuffer(data, dtype="<u2").astype(np.uint32) << 16
        return bits.view(np.float32).astype(np.float64)
    kinds = {"F64": "<f8", "F32": "<f4", "F16": "<f2"}
    return np.frombuffer(data, dtype=kinds[kind]).astype(np.float64)


def rounded(values: NDArray[np.float32] | Wide, kind: str, name: str) -> bytes:
    """Numbers as they are stored, rounded to the nearest, ties to even. Raises OutOfRange, naming
    the tensor, where a finite one would become infinite."""
    if kind == "F64":
        return values.astype("<f8").tobytes()
    with np.errstate(over="ignore"):
        made = values.astype("<f2" if kind == "F16" else "<f4")
    data = _bfloat16(made).tobytes() if kind == "BF16" else made.tobytes()
    if _infinities(data, kind) > int(np.isinf(values).sum()):
        raise OutOfRange(
            f"`{name}` holds numbers beyond the range of {DTYPES[kind]}",
            where="--dtype",
            hint="use `--dtype bfloat16` or `--dtype float32`, which have the range",
        )
    return data


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

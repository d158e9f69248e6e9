"""What adapters need to know of the weight W0 below them, packed or plain."""

from __future__ import annotations

from typing import Any

from backends.mlx.framework import mx, nn

BLOCK = 1 << 24
"""Elements of a weight that are widened to float32 at one time."""

Packed = (nn.QuantizedLinear, nn.QuantizedEmbedding)
"""Layers whose weight is held as small integers, with a scale for each group of a row."""


def quantized(linear: Any) -> bool:
    return isinstance(linear, Packed)


def sizes(linear: Any) -> tuple[int, int]:
    """(out, in): for a packed weight those of the matrix that it stands for."""
    rows, width = linear.weight.shape
    return (rows, width * 32 // linear.bits) if quantized(linear) else (rows, width)


def dense(linear: Any) -> mx.array:
    """Float32 [out, in]. Of a packed weight exactly the numbers that its groups stand for, not
    rounded to the precision of their scales."""
    return rows_of(linear, slice(None))


def rows_of(linear: Any, rows: slice | mx.array) -> mx.array:
    """Some rows of `dense`, float32 [rows, in]; no other row is unpacked."""
    weight = linear.weight[rows]
    if not quantized(linear):
        wide: mx.array = weight.astype(mx.float32)
        return wide
    scales, biases = _constants(linear, rows)
    # The scales of the floating modes are codes of 8 bits, and stay as they are.
    return mx.dequantize(weight, scales, biases, dtype=mx.float32, **_packing(linear))


def squares(linear: Any) -> mx.array:
    """Float32 [out]: each row's squared norm, evaluated block by block of rows."""
    out, width = sizes(linear)
    step = max(1, BLOCK // width)
    parts = []
    for start in range(0, out, step):
        parts.append(mx.square(rows_of(linear, slice(start, start + step))).sum(axis=1))
        mx.eval(parts[-1])
    return mx.concatenate(parts)


def times(linear: Any, a: mx.array) -> mx.array:
    """W0 A^T, float32 [out, rank], for a [rank, in]: by the packed weight's own product where it is
    packed, without a dense copy."""
    wide = a.astype(mx.float32)
    if not quantized(linear):
        plain: mx.array = linear.weight.astype(mx.float32) @ wide.T
        return plain
    scales, biases = _constants(linear, slice(None))
    packing = _packing(linear)
    made = mx.quantized_matmul(wide, linear.weight, scales, biases, transpose=True, **packing)
    return made.T


def _constants(linear: Any, rows: slice | mx.array) -> tuple[mx.array, mx.array | None]:
    """Scales and biases of some rows' groups, in float32 where they are floats."""
    scales, biases = linear.scales[rows], linear.get("biases")
    if scales.dtype != mx.uint8:
        scales = scales.astype(mx.float32)
    return scales, None if biases is None else biases[rows].astype(mx.float32)


def _packing(linear: Any) -> dict[str, Any]:
    return {"group_size": linear.group_size, "bits": linear.bits, "mode": linear.mode}

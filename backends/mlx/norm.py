"""Gemma's normalisation as transformers computes it."""

from __future__ import annotations

from backends.mlx.framework import mx, nn


class GemmaNorm(nn.Module):  # type: ignore[misc]
    """x / rms(x) * (1 + weight) in float32, rounded once to the precision of x. mlx-lm adds the 1
    in the weight's own precision, where bfloat16 keeps 8 bits of the sum."""

    def __init__(self, weight: mx.array, eps: float) -> None:
        super().__init__()
        self.weight = weight
        self._eps = eps

    def __call__(self, x: mx.array) -> mx.array:
        scale = 1.0 + self.weight.astype(mx.float32)
        return mx.fast.rms_norm(x.astype(mx.float32), scale, self._eps).astype(x.dtype)

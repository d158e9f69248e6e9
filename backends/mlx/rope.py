"""Rotary position embeddings as transformers computes them, for MLX's fused kernel.

mlx-lm reads the base and the scaling from other keys than transformers 5 writes, and says nothing
when they are missing, so every model's rotation is built here from the normalised configuration.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backends.errors import ModelError
from backends.mlx.framework import mx, nn

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Rotation:
    """`inverse` float32 [dims/2]: radians per position. `factor` multiplies cosine and sine."""

    inverse: Floats
    factor: float = 1.0


class Rope(nn.Module):  # type: ignore[misc]
    """Rotates the first `2 * len(inverse)` features of [rows, heads, length, features]."""

    def __init__(self, rotation: Rotation) -> None:
        super().__init__()
        self.dims = 2 * len(rotation.inverse)
        self.factor = rotation.factor
        self._freqs = mx.array(1.0 / rotation.inverse)

    def __call__(self, x: mx.array, offset: int | mx.array = 0) -> mx.array:
        if self.factor != 1.0:
            parts = [x[..., : self.dims] * self.factor, x[..., self.dims :]]
            x = mx.concatenate(parts, axis=-1)
        return mx.fast.rope(
            x, self.dims, traditional=False, base=None, scale=1.0, offset=offset, freqs=self._freqs
        )


def rotation(settings: Mapping[str, Any], dims: int, positions: int, where: str) -> Rotation:
    """The rotation of `dims` features that `settings` (transformers' `rope_parameters`) describe.

    `positions` is max_position_embeddings. Those of `longrope` and `dynamic` hold for short rows:
    up to `bounds.rotary_limit`. Raises ModelError for a type that is not served.
    """
    kind = str(settings.get("rope_type", "default"))
    plain = _plain(float(settings["rope_theta"]), dims)
    if kind == "default":
        return Rotation(plain)
    if kind == "linear":
        return Rotation(plain / np.float32(settings["factor"]))
    if kind == "llama3":
        return Rotation(_llama3(plain, settings))
    if kind == "yarn":
        return _yarn(settings, dims, positions)
    if kind == "longrope":
        return _longrope(settings, dims, positions)
    if kind == "dynamic":
        return Rotation(plain)
    raise ModelError(
        f"the mlx backend does not know the rope type `{kind}`",
        where=where,
        hint="it knows: default, linear, llama3, yarn, longrope, dynamic; or use `--backend torch`",
    )


def _plain(theta: float, dims: int) -> Floats:
    """theta ** (-2 i / dims)."""
    return np.float32(1.0) / _wavelengths(theta, dims)


def _wavelengths(theta: float, dims: int) -> Floats:
    """theta ** (2 i / dims): float32 exponents as in transformers, the power rounded once, which is
    what torch's comes to; positions multiply every unit of difference."""
    powers = np.arange(0, dims, 2, dtype=np.float32) / np.float32(dims)
    return np.power(theta, powers.astype(np.float64)).astype(np.float32)


def _llama3(plain: Floats, settings: Mapping[str, Any]) -> Floats:
    """Long wavelengths divided by `factor`, short ones kept, a ramp between (Llama 3.1)."""
    factor = float(settings["factor"])
    low, high = float(settings["low_freq_factor"]), float(settings["high_freq_factor"])
    context = float(settings["original_max_position_embeddings"])
    wavelength = 2 * math.pi / plain
    smooth = (context / wavelength - low) / (high - low)
    ramp = (1 - smooth) * plain / factor + smooth * plain
    long, short = wavelength > context / low, wavelength < context / high
    return np.where(long, plain / factor, np.where(short, plain, ramp)).astype(np.float32)


def _yarn(settings: Mapping[str, Any], dims: int, positions: int) -> Rotation:
    """Interpolated low, extrapolated high frequencies, a linear ramp between (Peng et al. 2023)."""
    theta = float(settings["rope_theta"])
    context = float(settings["original_max_position_embeddings"])
    factor = float(settings.get("factor") or positions / context)

    def turns(count: float) -> float:
        return dims * math.log(context / (count * 2 * math.pi)) / (2 * math.log(theta))

    low = turns(float(settings.get("beta_fast") or 32))
    high = turns(float(settings.get("beta_slow") or 1))
    if settings.get("truncate", True):
        low, high = math.floor(low), math.ceil(high)
    low, high = max(low, 0), min(high, dims - 1)
    high = high + 0.001 if low == high else high
    ramp = np.clip((np.arange(dims // 2, dtype=np.float32) - low) / (high - low), 0, 1)
    plain = _plain(theta, dims)
    mixed = plain / factor * ramp + plain * (1 - ramp)
    return Rotation(mixed.astype(np.float32), factor=_yarn_factor(settings, factor))


def _yarn_factor(settings: Mapping[str, Any], factor: float) -> float:
    given = settings.get("attention_factor")
    if given is not None:
        return float(given)

    def scale(weight: float) -> float:
        return 1.0 if factor <= 1 else 0.1 * weight * math.log(factor) + 1.0

    above, below = settings.get("mscale"), settings.get("mscale_all_dim")
    return scale(float(above)) / scale(float(below)) if above and below else scale(1.0)


def _longrope(settings: Mapping[str, Any], dims: int, positions: int) -> Rotation:
    """The short factors, which hold up to the original context (Ding et al. 2024)."""
    context = int(settings["original_max_position_embeddings"])
    factor = float(settings.get("factor") or positions / context)
    given = settings.get("attention_factor")
    if given is None:
        given = 1.0 if factor <= 1 else math.sqrt(1 + math.log(factor) / math.log(context))
    short: Floats = np.array(settings["short_factor"], dtype=np.float32)
    stretched = short * _wavelengths(float(settings["rope_theta"]), dims)
    return Rotation(np.float32(1.0) / stretched, factor=float(given))

"""What an adapter is: its kind, its size, where it sits, and LS-LoRA's spline."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np


@dataclass(frozen=True)
class Spline:
    """LS-LoRA's spline (`backends.spline`): how many knots, evenly from `low` to `high`, of which
    one is 0; how values between them are found, and what becomes of the residual outside the grid
    (it keeps its slope, or its last value). `penalty`: on the mean squared distance of the values
    from the identity. `rate`: multiplies the learning rate of the values and the scales."""

    knots: int = 5
    low: float = -3.0
    high: float = 3.0
    interpolation: Literal["piecewise", "soft"] = "piecewise"
    outside: Literal["linear", "clamp"] = "linear"
    penalty: float = 0.01
    rate: float = 1.0

    def __post_init__(self) -> None:
        if self.knots < 3 or not self.low < 0 < self.high:
            raise ValueError("a spline has three knots or more, on both sides of 0")
        if self.penalty < 0 or self.rate < 0:
            raise ValueError("a spline's penalty and rate are 0 or more")
        places = -self.low / (self.high - self.low) * (self.knots - 1)
        if abs(places - round(places)) > 1e-6:
            raise ValueError(f"none of {self.knots} knots from {self.low:g} to {self.high:g} is 0")
        ends = self.low, self.high, (self.high - self.low) / (self.knots - 1)
        least, most = float(np.finfo(np.float32).tiny), float(np.finfo(np.float32).max)
        if not all(least < abs(end) < most for end in ends):
            raise ValueError(f"knots from {self.low:g} to {self.high:g} are none in float32")


@dataclass(frozen=True)
class AdapterSpec:
    """An adapter. The factor on `B A x` is alpha/rank, or alpha/sqrt(rank) with `rslora`.

    `lora`: W x + z with z = factor B A x (Hu et al. 2021). `dora`: m/||W + factor B A|| (W x + z)
    with a magnitude m for each output and the norm of each row (Liu et al. 2024; the norm is a
    constant to the gradient, as in PEFT). `lslora`: W x + s_out phi(s_in z) with a learned `spline`
    phi, one for a layer. W is the weight with the frozen past in it; branches of frozen `lslora`
    adapters are added to either, outside any norm.
    """

    rank: int = 16
    alpha: float = 32.0
    targets: Literal["all-linear"] | tuple[str, ...] = "all-linear"
    scaling: Literal["standard", "rslora"] = "standard"
    dropout: float = 0.0
    seed: int = 42
    kind: Literal["lora", "dora", "lslora"] = "lora"
    spline: Spline | None = None

    def __post_init__(self) -> None:
        if (self.kind == "lslora") != (self.spline is not None):
            raise ValueError("a spline belongs to an adapter of kind lslora, and to no other")

    @property
    def scale(self) -> float:
        root = self.rank if self.scaling == "standard" else float(np.sqrt(self.rank))
        return self.alpha / root

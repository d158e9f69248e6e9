"""The feed-forward block on a CPU: its sigmoid once, forward and backward."""

from __future__ import annotations

import math
from typing import Any, cast

from backends.mlx.exponential import logistic
from backends.mlx.framework import mx, nn

TANH_RATE = 2.0 * math.sqrt(2.0 / math.pi)
CUBE = 0.044715


class Gated(nn.Module):  # type: ignore[misc]
    """`theirs` is mlx-lm's block, whose layers this one takes over. act(gate) * up, then down;
    `gelu` is Gemma's activation (with tanh), otherwise SiLU. Lower precisions than float32 take
    the plain form, which rounds as mlx-lm's does."""

    def __init__(self, theirs: Any, *, gelu: bool) -> None:
        super().__init__()
        dict.update(self, theirs.children())
        self._gated: Any = gated_gelu if gelu else gated_silu
        self._plain = nn.gelu_approx if gelu else nn.silu

    def __call__(self, x: mx.array) -> mx.array:
        if "gate_up_proj" in self:
            gate, up = mx.split(self.gate_up_proj(x), 2, axis=-1)
        else:
            gate, up = self.gate_proj(x), self.up_proj(x)
        exact = gate.dtype == mx.float32
        between = self._gated(gate, up)[0] if exact else self._plain(gate) * up
        return cast(mx.array, self.down_proj(between))


@mx.custom_function
def gated_silu(gate: mx.array, up: mx.array) -> tuple[mx.array, mx.array]:
    """gate sigmoid(gate) up, and the sigmoid, kept for the way back."""
    open_ = logistic(gate)
    return gate * open_ * up, open_


@gated_silu.vjp
def _silu_back(
    given: tuple[mx.array, mx.array], above: tuple[mx.array, ...], made: tuple[mx.array, ...]
) -> tuple[mx.array, mx.array]:
    gate, up = given
    silu = gate * made[1]
    slope = made[1] + silu * (1.0 - made[1])
    return above[0] * up * slope, above[0] * silu


@mx.custom_function
def gated_gelu(gate: mx.array, up: mx.array) -> tuple[mx.array, mx.array]:
    """GELU by tanh, which is gate sigmoid(z) with z = 2 sqrt(2/pi) (gate + 0.044715 gate^3)."""
    open_ = logistic(TANH_RATE * gate * (1.0 + CUBE * mx.square(gate)))
    return gate * open_ * up, open_


@gated_gelu.vjp
def _gelu_back(
    given: tuple[mx.array, mx.array], above: tuple[mx.array, ...], made: tuple[mx.array, ...]
) -> tuple[mx.array, mx.array]:
    gate, up = given
    gelu = gate * made[1]
    rate = TANH_RATE * (1.0 + 3.0 * CUBE * mx.square(gate))
    slope = made[1] + gelu * (1.0 - made[1]) * rate
    return above[0] * up * slope, above[0] * gelu

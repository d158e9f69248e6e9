"""Gated feed-forward layers that keep their two products alone for the way back."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.autograd.function import once_differentiable
from torch.nn import functional

KINDS = ("LlamaMLP", "Qwen2MLP", "Qwen3MLP", "MistralMLP")
"""transformers' classes with a layer for the gate and one for what is gated."""


class Gated(nn.Module):  # type: ignore[misc]
    """down(silu(gate(x)) * up(x)). It takes the place of a module of `KINDS`."""

    def forward(self, x: Any) -> Any:
        return self.down_proj(gated(self.gate_proj(x), self.up_proj(x)))


class GatedTogether(nn.Module):  # type: ignore[misc]
    """The same where one layer makes both, as in Phi-3."""

    def forward(self, x: Any) -> Any:
        return self.down_proj(gated(*self.gate_up_proj(x).chunk(2, dim=-1)))


def keep_products(model: nn.Module) -> None:
    """Let every feed-forward layer with SiLU take this form, on the same weights."""
    if getattr(model.config, "hidden_act", None) not in ("silu", "swish"):
        return
    for module in model.modules():
        kind = type(module).__name__
        if kind in KINDS:
            module.__class__ = Gated
        elif kind == "Phi3MLP":
            module.__class__ = GatedTogether


def gated(gate: Any, up: Any) -> Any:
    """silu(gate) * up; without gradients the gate's own memory holds it."""
    if torch.is_grad_enabled() and (gate.requires_grad or up.requires_grad):
        return _Gated.apply(gate, up)
    return functional.silu(gate, inplace=True).mul_(up)


class _Gated(torch.autograd.Function):  # type: ignore[misc]
    @staticmethod
    def forward(ctx: Any, gate: Any, up: Any) -> Any:
        ctx.save_for_backward(gate, up)
        return functional.silu(gate).mul_(up)

    @staticmethod
    @once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, gradient: Any) -> Any:
        gate, up = ctx.saved_tensors
        to_gate = torch.ops.aten.silu_backward(gradient * up, gate)
        return to_gate, functional.silu(gate).mul_(gradient)

"""RMS norms with frozen weights: a way back of their own, in a third of the passes over memory."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.autograd.function import once_differentiable

KINDS = ("LlamaRMSNorm", "Qwen2RMSNorm", "Qwen3RMSNorm", "MistralRMSNorm", "Phi3RMSNorm")
"""transformers' classes whose formula is weight * (x / rms(x)), the quotient in x's type."""


class FrozenNorm(nn.Module):  # type: ignore[misc]
    """A norm whose weight never trains. It takes the place of a module of `KINDS`."""

    weight: Any
    variance_epsilon: float

    def forward(self, x: Any) -> Any:
        return _Norm.apply(x, self.weight, self.variance_epsilon)


class FrozenGemmaNorm(nn.Module):  # type: ignore[misc]
    """Gemma 3's: (1 + weight) * (x / rms(x)), all of it in float32."""

    weight: Any
    eps: float

    def forward(self, x: Any) -> Any:
        return _Norm.apply(x, 1.0 + self.weight.float(), self.eps)


def freeze_norms(model: nn.Module) -> None:
    """Let every RMS norm of a frozen model take the shorter way, on the same weights."""
    for module in model.modules():
        kind = type(module).__name__
        if kind in KINDS:
            module.__class__ = FrozenNorm
        elif kind == "Gemma3RMSNorm":
            module.__class__ = FrozenGemmaNorm


class _Norm(torch.autograd.Function):  # type: ignore[misc]
    """Keeps x as it came, and one float32 number a position."""

    @staticmethod
    def forward(ctx: Any, x: Any, weight: Any, eps: float) -> Any:
        # transformers' own steps, so that a model's logits stay what they are to the last digit.
        inverse = x.float().square().mean(-1, keepdim=True).add_(eps).rsqrt_()
        ctx.save_for_backward(x, weight, inverse)
        # Multiplied in the weight's type: Gemma 3 gives it in float32, the others in x's.
        return (x * inverse).to(weight.dtype).mul_(weight).to(x.dtype)

    @staticmethod
    @once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, gradient: Any) -> Any:
        x, weight, inverse = ctx.saved_tensors
        slope, wide = gradient.float() * weight.float(), x.float()
        along = torch.linalg.vecdot(slope, wide)[..., None]
        along.mul_(inverse).mul_(inverse).div_(-x.shape[-1])
        return slope.addcmul_(wide, along).mul_(inverse).to(x.dtype), None, None

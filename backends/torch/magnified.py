"""A layer's output with each row of its weight stretched, the bias left alone."""

from __future__ import annotations

from typing import Any

import torch
from torch.autograd.function import once_differentiable


def magnified(y: Any, g: Any, bias: Any = None) -> Any:
    """g (y - bias) + bias, for y = P x + bias [..., out]: that is (g P) x + bias.

    Computed in float32 and given in the type of `y`; exactly y where g is 1. What is kept for the
    way back is y in its own type, and that only where `g` [out] learns.
    """
    return _Magnified.apply(y, g, bias)


class _Magnified(torch.autograd.Function):  # type: ignore[misc]
    @staticmethod
    def forward(ctx: Any, y: Any, g: Any, bias: Any) -> Any:
        ctx.save_for_backward(y if ctx.needs_input_grad[1] else None, g, bias)
        found = y.to(_wide(y)) * g
        if bias is not None:
            found.addcmul_(1.0 - g, bias.to(found.dtype))
        return found.to(y.dtype)

    @staticmethod
    @once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, gradient: Any) -> Any:
        y, g, bias = ctx.saved_tensors
        wide = gradient.to(_wide(gradient))
        to_y = to_g = None
        if ctx.needs_input_grad[0]:
            to_y = (wide * g).to(gradient.dtype)
        if ctx.needs_input_grad[1]:
            seen = y.to(wide.dtype) if bias is None else y.to(wide.dtype) - bias.to(wide.dtype)
            to_g = (seen * wide).reshape(-1, len(g)).sum(dim=0).to(g.dtype)
        return to_y, to_g, None


def _wide(tensor: Any) -> Any:
    return torch.promote_types(tensor.dtype, torch.float32)

"""What adapters need to know of the weight W0 below them, packed or plain."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

from backends.torch.packed import PackedLinear
from backends.torch.products import product as multiplied

BLOCK = 1 << 24
"""Elements of a weight in lower precision that are widened to float32 at one time."""


def quantized(linear: nn.Module) -> bool:
    return isinstance(linear, PackedLinear)


def sizes(linear: Any) -> tuple[int, int]:
    """(out, in): for a packed weight those of the matrix that it stands for."""
    return int(linear.out_features), int(linear.in_features)


def dense(linear: Any) -> Any:
    """Float32 [out, in] where the weight lies, outside any graph. Of a packed weight exactly the
    numbers that it stands for; a plain float32 weight is given itself, not copied."""
    if isinstance(linear, PackedLinear):
        return linear.unpacked(torch.float32)
    return linear.weight.detach().float()


def squares(linear: Any) -> Any:
    """Float32 [out]: each row's squared norm."""
    return torch.cat([part.square().sum(dim=1) for part in _parts(linear)])


def times(linear: Any, a: Any) -> Any:
    """W0 A^T, float32 [out, rank], for a [rank, in], outside any graph. A packed weight is
    unpacked for it: bitsandbytes' own products round on the way."""
    wide = a.detach().float().t()
    return torch.cat([part @ wide for part in _parts(linear)])


def product(linear: Any, x: Any) -> Any:
    """W0 x without the bias, in the type of `x` [..., in], differentiable in x alone."""
    if isinstance(linear, PackedLinear):
        return linear.product(x)
    if x.requires_grad and torch.is_grad_enabled():
        return nn.functional.linear(x, linear.weight)
    flat = x.reshape(-1, x.shape[-1])
    return multiplied(flat, linear.weight).view(*x.shape[:-1], -1)


def share(layer: nn.Module, base: nn.Module) -> None:
    """Let `layer`, which takes the place of `base` in the model, bear its tensors by their names:
    a weight and a bias, and of a packed weight what unpacks it."""
    for name, parameter in base.named_parameters(recurse=False):
        setattr(layer, name, parameter)


def _parts(linear: Any) -> Iterator[Any]:
    """`dense` in blocks of rows; whole where it is float32 already, or has to be unpacked."""
    if isinstance(linear, PackedLinear) or linear.weight.dtype == torch.float32:
        yield dense(linear)
        return
    weight = linear.weight.detach()
    for part in weight.split(max(1, BLOCK // weight.shape[1])):
        yield part.float()

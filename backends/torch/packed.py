"""Linear layers over weights that bitsandbytes packed into 4 or 8 bits, frozen.

What is computed is x times the numbers that the packed weight stands for, unpacked when the layer
runs, forward and backward, in one way on every device. bitsandbytes' own layers do otherwise: in
eval mode the 8-bit one rounds activations too, by outliers of the whole batch, so that a row's
result goes by its neighbours; the 4-bit one packs the weight anew on a CPU with AVX-512 BF16 and
multiplies in bfloat16 wherever no gradient is wanted, so that a reference is not what its policy
computes. Here a policy that has learned nothing is its reference, and an export that is unpacked
computes what was trained.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.autograd.function import once_differentiable

from backends.torch.products import product


class PackedLinear(nn.Linear):  # type: ignore[misc]  # a Linear, so that PEFT adapts it as one
    """It takes the place of a layer of bitsandbytes' on the same tensors, all of them frozen
    parameters: nothing of the weight is left out where a model's tensors are listed."""

    def unpacked(self, dtype: Any) -> Any:
        """The weight [out, in] in `dtype`, rounded to it once."""
        raise NotImplementedError

    def product(self, x: Any) -> Any:
        """W x without the bias, x [..., in]."""
        return _Product.apply(x, self)

    def forward(self, x: Any) -> Any:
        y = self.product(x)
        return y if self.bias is None else y + self.bias.to(y.dtype)


class FourBitLinear(PackedLinear):
    """NF4 or FP4: two numbers a byte, in blocks with a scale each (Dettmers et al. 2023). With
    double quantization the scales are bytes themselves, in blocks with a scale and one offset."""

    kind: str
    block: int
    nested_block: int
    weight: Any
    absmax: Any
    nested_absmax: Any
    nested_code: Any
    offset: Any

    def unpacked(self, dtype: Any) -> Any:
        scales = self.absmax
        if self.nested_block:
            scales = torch.ops.bitsandbytes.dequantize_blockwise.default(
                scales, self.nested_absmax, self.nested_code, self.nested_block, torch.float32
            )
            scales = scales + self.offset
        shape = [self.out_features, self.in_features]
        return torch.ops.bitsandbytes.dequantize_4bit.default(
            self.weight.detach(), scales, self.block, self.kind, shape, dtype
        )


class EightBitLinear(PackedLinear):
    """Whole numbers up to 127 and a scale for each row (Dettmers et al. 2022)."""

    weight: Any
    absmax: Any

    def unpacked(self, dtype: Any) -> Any:
        # In place, so that the product is made in float32 and rounded once.
        return self.weight.detach().to(dtype).mul_(self.absmax[:, None] / 127.0)


class _Product(torch.autograd.Function):  # type: ignore[misc]
    """Keeps nothing for the way back but the layer, which unpacks its weight again."""

    @staticmethod
    def forward(ctx: Any, x: Any, layer: PackedLinear) -> Any:
        ctx.layer = layer
        y = product(x.reshape(-1, x.shape[-1]), layer.unpacked(x.dtype))
        return y.view(*x.shape[:-1], y.shape[-1])

    @staticmethod
    @once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, gradient: Any) -> Any:
        if not ctx.needs_input_grad[0]:
            return None, None
        g = gradient.reshape(-1, gradient.shape[-1])
        to_x = product(g, ctx.layer.unpacked(g.dtype).t())
        return to_x.view(*gradient.shape[:-1], to_x.shape[-1]), None


def freeze_packed(model: nn.Module) -> int:
    """Let every layer of bitsandbytes' in a frozen model be a PackedLinear, on the same tensors;
    how many there are."""
    count = 0
    for module in model.modules():
        kind = type(module).__name__
        if kind == "Linear4bit":
            _four_bit(module)
        elif kind == "Linear8bitLt":
            _eight_bit(module)
        else:
            continue
        count += 1
    return count


def _four_bit(module: Any) -> None:
    state = module.weight.quant_state
    packed = module.weight.data.view(torch.uint8).reshape(-1, 1)  # whatever type holds the bytes
    del module.quant_state
    module.__class__ = FourBitLinear
    module.kind, module.block = state.quant_type, int(state.blocksize)
    module.nested_block = int(state.state2.blocksize) if state.nested else 0
    module.weight, module.absmax = _frozen(packed), _frozen(state.absmax)
    if state.nested:
        module.nested_absmax, module.nested_code, module.offset = (
            _frozen(tensor) for tensor in (state.state2.absmax, state.state2.code, state.offset)
        )


def _eight_bit(module: Any) -> None:
    packed, scales = module.weight.data, module.weight.SCB
    del module.state
    module.__class__ = EightBitLinear
    module.weight, module.absmax = _frozen(packed), _frozen(scales)


def _frozen(tensor: Any) -> Any:
    return nn.Parameter(tensor.detach(), requires_grad=False)

"""Products with frozen weights: which kernel makes them, and their way back."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.autograd.function import once_differentiable
from torch.nn import functional

_KERNEL: Any = getattr(torch.ops.mkldnn, "_linear_pointwise", None)
"""oneDNN's float32 product, which PyTorch has but does not take by itself on x86-64. On AMD with
AVX-512 it is 10 to 50 % faster than MKL's at the sizes of training, on a few rows twice as fast."""


_LEAST = 1 << 19
"""Smaller weights are left to MKL: making a kernel for each new shape costs more than it saves."""
_STEP = 64
"""Rows go to the kernel in multiples of this, zeros at the end, so that shapes stay few."""


def product(x: Any, weight: Any, bias: Any = None) -> Any:
    """x [tokens, in] @ weight [out, in].T + bias, outside the graph; `weight` may be a view."""
    if not suits(x, weight):
        return functional.linear(x, weight, bias)
    rows = len(x)
    if rows > _STEP and rows % _STEP:
        x = functional.pad(x, (0, 0, 0, _STEP - rows % _STEP))
    return _KERNEL(x, weight, bias, "none", [], "")[:rows]


def suits(x: Any, weight: Any) -> bool:
    """Whether oneDNN makes this product. Goes by the machine and the tensors' type alone, never by
    a measurement, so that a run repeats to the last digit."""
    return bool(
        _ON_THIS_MACHINE
        and x.device.type == "cpu"
        and x.dtype == torch.float32
        and weight.dtype == torch.float32
        and weight.numel() >= _LEAST
        and x.numel()
        and not torch.is_autocast_enabled("cpu")  # which asks for another type
    )


def _works() -> bool:
    # AVX-512 stands for x86-64 as measured; Arm builds have other kernels behind the same name.
    wide = getattr(torch.cpu, "_is_avx512_supported", None)
    if _KERNEL is None or wide is None or not torch.backends.mkldnn.is_available():
        return False
    # Both names are PyTorch's own affair: another version may change them, or what they take.
    x, weight = _counted(3, 4), _counted(2, 4)
    try:
        found = _KERNEL(x, weight, None, "none", [], "")
        return bool(wide()) and torch.equal(found, functional.linear(x, weight))
    except (AttributeError, RuntimeError, TypeError):
        return False


def _counted(rows: int, columns: int) -> Any:
    """Whole numbers, whose products are exact in any order."""
    return torch.arange(rows * columns, dtype=torch.float32, device="cpu").view(rows, columns)


_ON_THIS_MACHINE = _works()


class FrozenLinear(nn.Linear):  # type: ignore[misc]
    """A linear layer whose weight never trains, with the faster kernel."""

    def forward(self, x: Any) -> Any:
        if not suits(x, self.weight):
            return functional.linear(x, self.weight, self.bias)
        return adapted(x, self.weight, self.bias)


def freeze_linears(model: nn.Module) -> None:
    """Let every plain linear layer of a frozen model be a FrozenLinear, on the same tensors."""
    for module in model.modules():
        if type(module) is nn.Linear:
            module.__class__ = FrozenLinear


Pair = tuple[Any, Any]
"""A [rank, in] and B [out, rank], float32."""


def adapted(
    x: Any,
    weight: Any,
    bias: Any,
    past: Pair | None = None,
    trained: Pair | None = None,
    scale: float = 1.0,
) -> Any:
    """W x + b, plus B (A x) of the frozen `past`, plus scale B (A x) of the `trained` factors.

    In lower precision the factors are rounded on the way in, so that what is kept of activations
    is never a float32 copy. The gradients of the trained factors are float32. In bfloat16 the
    products they come from are rounded as all its products are; in float16, whose range ends where
    gradients begin, these are made in float32, from copies that live no longer than they take.
    """
    factors = (*(past or (None, None)), *(trained or (None, None)))
    return _Adapted.apply(x, weight, bias, *factors, scale)


def low_rank(x: Any, a: Any, b: Any, scale: float) -> Any:
    """scale B (A x) of trained factors alone, in the type of `x` and rounded as in `adapted`."""
    return _LowRank.apply(x, a, b, scale)


class _Adapted(torch.autograd.Function):  # type: ignore[misc]
    @staticmethod
    def forward(
        ctx: Any,
        x: Any,
        weight: Any,
        bias: Any,
        past_a: Any,
        past_b: Any,
        a: Any,
        b: Any,
        scale: float,
    ) -> Any:
        flat = x.reshape(-1, x.shape[-1])
        y = product(flat, weight, bias)
        if past_a is not None:
            y.addmm_(product(flat, past_a.to(x.dtype)), past_b.to(x.dtype).t())
        low = None
        if a is not None:
            low = product(flat, a.to(x.dtype))
            y.addmm_(low, (scale * b).to(x.dtype).t())
            ctx.save_for_backward(weight, past_a, past_b, a, b, flat, low)
        else:
            ctx.save_for_backward(weight, past_a, past_b, None, None, None, None)
        ctx.scale, ctx.shape = scale, x.shape
        return y.view(*x.shape[:-1], y.shape[-1])

    @staticmethod
    @once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, gradient: Any) -> Any:
        weight, past_a, past_b, a, b, flat, low = ctx.saved_tensors
        g = gradient.reshape(-1, gradient.shape[-1])
        to_low = to_a = to_b = to_x = None
        if a is not None:
            to_low, to_a, to_b = _to_factors(g, flat, low, a, b, ctx.scale)
        if ctx.needs_input_grad[0]:
            to_x = product(g, weight.t())
            if a is not None:
                to_x.addmm_(to_low, a.to(g.dtype))
            if past_a is not None:
                to_x.addmm_(product(g, past_b.to(g.dtype).t()), past_a.to(g.dtype))
            to_x = to_x.view(ctx.shape)
        return to_x, None, None, None, None, to_a, to_b, None


class _LowRank(torch.autograd.Function):  # type: ignore[misc]
    @staticmethod
    def forward(ctx: Any, x: Any, a: Any, b: Any, scale: float) -> Any:
        flat = x.reshape(-1, x.shape[-1])
        low = product(flat, a.to(x.dtype))
        ctx.save_for_backward(a, b, flat, low)
        ctx.scale, ctx.shape = scale, x.shape
        return product(low, (scale * b).to(x.dtype)).view(*x.shape[:-1], len(b))

    @staticmethod
    @once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, gradient: Any) -> Any:
        a, b, flat, low = ctx.saved_tensors
        g = gradient.reshape(-1, gradient.shape[-1])
        to_low, to_a, to_b = _to_factors(g, flat, low, a, b, ctx.scale)
        to_x = None
        if ctx.needs_input_grad[0]:
            to_x = product(to_low, a.to(g.dtype).t()).view(ctx.shape)
        return to_x, to_a, to_b, None


def _to_factors(g: Any, flat: Any, low: Any, a: Any, b: Any, scale: float) -> Any:
    """Gradients of A x in the type of `g`, of A and of B."""
    wide = torch.float32 if g.dtype == torch.float16 else g.dtype
    wide_g = g.to(wide)
    to_low = product(wide_g, (scale * b).to(wide).t())
    to_a = torch.mm(to_low.t(), flat.to(wide)).to(a.dtype)
    # Its transpose, the long side last, is several times as fast as the product itself.
    to_b = torch.mm(low.to(wide).t(), wide_g).t().to(b.dtype).mul_(scale)
    return to_low.to(g.dtype), to_a, to_b

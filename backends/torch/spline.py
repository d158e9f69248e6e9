"""LS-LoRA's spline in PyTorch: s_out phi(s_in z), of which z alone is kept for the way back."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any

import torch
from torch.autograd.function import once_differentiable

from backends import spline
from backends.contract import Spline

BLOCK = {"cpu": 1 << 16}
"""Numbers that go through the spline at one time, by device: what stays in a CPU's cache while
every knot passes over it."""
OTHER_BLOCK = 1 << 24
"""The same on every other device: fewer, larger passes."""


def bent(z: Any, values: Any, scales: Any, spec: Spline) -> Any:
    """s_out phi(s_in z) by the formula of `backends.spline`, in the type of `z` and computed in
    float32. `values` [knots], `scales` [2]: s_in and s_out. Differentiable in all three."""
    return _Bent.apply(z, values, scales, spec)


class _Bent(torch.autograd.Function):  # type: ignore[misc]
    """Goes over z block by block, so that beside z there is never more than a few blocks alive."""

    @staticmethod
    def forward(ctx: Any, z: Any, values: Any, scales: Any, spec: Spline) -> Any:
        z = z.contiguous()
        ctx.save_for_backward(z, values, scales)
        ctx.spec = spec
        form, before, after = _opened(z, values, scales, spec)
        y = torch.empty_like(z)
        for part, into in _blocks(z, y):
            u = part.to(before.dtype) * before
            into.copy_(form.residual(u).add_(u).mul_(after))
        return y

    @staticmethod
    @once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, gradient: Any) -> Any:
        z, values, scales = ctx.saved_tensors
        form, before, after = _opened(z, values, scales, ctx.spec)
        learns = ctx.needs_input_grad[1] or ctx.needs_input_grad[2]
        to_z = torch.empty_like(z)
        to_values = values.new_zeros(values.shape, dtype=before.dtype)
        to_scales = [torch.zeros_like(before), torch.zeros_like(after)]
        for part, g, into in _blocks(z, gradient.contiguous(), to_z):
            wide, g = part.to(before.dtype), g.to(before.dtype)
            u = wide * before
            if learns:
                to_scales[1] += form.residual(u).add_(u).mul_(g).sum()
            g = g * after
            if learns:
                to_values += form.to_values(u, g)
            g.mul_(form.slope(u).add_(1.0))
            if learns:
                to_scales[0] += (wide * g).sum()
            into.copy_(g.mul_(before))
        return to_z, to_values.to(values.dtype), torch.stack(to_scales).to(scales.dtype), None


def _opened(z: Any, values: Any, scales: Any, spec: Spline) -> tuple[Any, Any, Any]:
    """The spline's form and its two scales, in float32, or in float64 where z is."""
    wide = torch.promote_types(z.dtype, torch.float32)
    kind = _Piecewise if spec.interpolation == "piecewise" else _Soft
    before, after = scales.detach().to(wide)
    return kind(values.detach().to(wide), spec), before, after


def _blocks(*tensors: Any) -> Iterator[tuple[Any, ...]]:
    """Contiguous tensors of one shape, cut alike."""
    size = BLOCK.get(tensors[0].device.type, OTHER_BLOCK)
    yield from zip(*(tensor.view(-1).split(size) for tensor in tensors), strict=True)


@functools.cache
def _knots(spec: Spline, dtype: Any, device: Any) -> Any:
    return torch.tensor(spline.knots(spec), dtype=dtype, device=device)


@functools.cache
def _fixed(spec: Spline, dtype: Any, device: Any) -> Any:
    """Of `soft` interpolation: by how much each value moves the slope at the grid's low end and at
    its high one, [2, knots]."""
    at, own = spline.weights([spec.low, spec.high], spec), spline.knots(spec)
    leaning = at * (own - (at @ own)[:, None]) * (2.0 / spline.spacing(spec) ** 2)
    return torch.tensor(leaning, dtype=dtype, device=device)


class _Piecewise:
    """The residual phi(u) - u as a sum over the pieces between knots: a slope for each, times how
    far u goes into it, counted from its end nearer to 0. So it is 0 at 0 whatever the values are,
    and keeps its last slope outside the grid where the last pieces have no end."""

    def __init__(self, values: Any, spec: Spline) -> None:
        self._knots: list[float] = spline.knots(spec).tolist()
        self._zero, self._step = spline.zero(spec), spline.spacing(spec)
        self._goes_on = spec.outside == "linear"
        moved = values - _knots(spec, values.dtype, values.device)
        self._slopes = moved.diff() / self._step

    def residual(self, u: Any) -> Any:
        found = torch.zeros_like(u)
        for slope, far in zip(self._slopes, self._far(u), strict=True):
            found.addcmul_(far, slope)
        return found

    def slope(self, u: Any) -> Any:
        """The residual's derivative; at a knot, that of the piece above it."""
        flat = torch.zeros_like(self._slopes[0])
        found = self._slopes[0] if self._goes_on else flat
        for slope, knot in zip(self._slopes, self._knots[:-1], strict=True):
            found = torch.where(u >= knot, slope, found)
        return found if self._goes_on else torch.where(u > self._knots[-1], flat, found)

    def to_values(self, u: Any, g: Any) -> Any:
        """[knots], for the gradient `g` that comes back to the residual at u."""
        pulls = torch.stack([far.mul_(g).sum() for far in self._far(u)]) / self._step
        found = pulls.new_zeros(len(self._knots))
        found[1:] += pulls
        found[:-1] -= pulls
        return found

    def _far(self, u: Any) -> Iterator[Any]:
        last = len(self._knots) - 2
        for piece in range(last + 1):
            low = None if self._goes_on and piece == 0 else self._knots[piece]
            high = None if self._goes_on and piece == last else self._knots[piece + 1]
            start = self._knots[piece if piece >= self._zero else piece + 1]
            yield u.clamp(low, high).sub_(start)


class _Soft:
    """The residual as a mean of how far each value was moved, weighted by exp(-((u - k)/step)^2);
    outside the grid it goes on from there as from its end, by the slope there or flat."""

    def __init__(self, values: Any, spec: Spline) -> None:
        self._knots: list[float] = spline.knots(spec).tolist()
        self._step, self._low, self._high = spline.spacing(spec), spec.low, spec.high
        self._goes_on = spec.outside == "linear"
        self._moved = values - _knots(spec, values.dtype, values.device)
        self._at_zero = self._mean(values.new_zeros(1))
        self._at_zero_shares = self._shares(values.new_zeros(1))
        self._to_ends = _fixed(spec, values.dtype, values.device)
        self._ends = self._to_ends @ self._moved

    def residual(self, u: Any) -> Any:
        found = self._mean(u.clamp(self._low, self._high)).sub_(self._at_zero)
        if self._goes_on:
            for slope, far in zip(self._ends, self._outside(u), strict=True):
                found.addcmul_(far, slope)
        return found

    def slope(self, u: Any) -> Any:
        inside = u.clamp(self._low, self._high)
        total, mean, centre, both = (torch.zeros_like(u) for _ in range(4))
        for knot, moved, weight in zip(
            self._knots, self._moved, self._weights(inside), strict=True
        ):
            total += weight
            centre.add_(weight, alpha=knot)
            mean += weight.mul_(moved)
            both.add_(weight, alpha=knot)
        found = both.div_(total).sub_(centre.div_(total).mul_(mean.div_(total)))
        found.mul_(2.0 / self._step**2)
        return found if self._goes_on else found.masked_fill_(inside != u, 0.0)

    def to_values(self, u: Any, g: Any) -> Any:
        """As `_Piecewise.to_values`."""
        inside = u.clamp(self._low, self._high)
        total = torch.zeros_like(u)
        for weight in self._weights(inside):
            total += weight
        # Number by number: where u is 0, as it is in a first step, nothing may be left of a sum, or
        # AdamW would make whole steps of it.
        pairs = zip(self._weights(inside), self._at_zero_shares, strict=True)
        found = torch.stack([weight.div_(total).sub_(at).mul_(g).sum() for weight, at in pairs])
        if self._goes_on:
            for row, far in zip(self._to_ends, self._outside(u), strict=True):
                found += far.mul_(g).sum() * row
        return found

    def _mean(self, inside: Any) -> Any:
        total, mean = torch.zeros_like(inside), torch.zeros_like(inside)
        for moved, weight in zip(self._moved, self._weights(inside), strict=True):
            total += weight
            mean.addcmul_(weight, moved)
        return mean.div_(total)

    def _shares(self, inside: Any) -> list[Any]:
        """The weights, each over their sum."""
        raised = list(self._weights(inside))
        total = torch.zeros_like(inside)
        for weight in raised:
            total += weight
        return [weight.div_(total) for weight in raised]

    def _weights(self, inside: Any) -> Iterator[Any]:
        """Unnormalised, each in memory of its own. The nearest knot's is 0.7 at least."""
        for knot in self._knots:
            yield (inside - knot).div_(self._step).square_().neg_().exp_()

    def _outside(self, u: Any) -> tuple[Any, Any]:
        """How far u lies below the grid, as a negative number, and above it."""
        return (u - self._low).clamp_(max=0.0), (u - self._high).clamp_(min=0.0)

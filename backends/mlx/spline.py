"""LS-LoRA's spline on MLX: `backends.spline`'s phi between an adapter's two scales.

Its way back is written out. z alone is kept for it. Knots are gone through one after another, and
rows block by block, so that however many there are, what comes and goes is a few blocks of z.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any, cast

import numpy as np

from backends import spline
from backends.contract import Spline
from backends.mlx.exponential import LOG2E, exp2
from backends.mlx.framework import mx

BLOCK = 1 << 21
"""Numbers of z that are bent at one time: twenty or so float32 arrays of that size come and go."""

Back = tuple[mx.array, mx.array, mx.array]
"""Of phi's residual r at u: r, its slope in u, and [knots] the sums of weight * dr / d(v - k)."""


@dataclass(frozen=True)
class Curve:
    """A layer's spline with its two scales; as in `bent`."""

    spec: Spline
    values: mx.array
    scales: mx.array

    def __call__(self, z: mx.array) -> mx.array:
        return bent(z, self.values, self.scales, self.spec)

    def slope(self) -> float | None:
        """s_out * slope * s_in where phi is linear everywhere, None where it bends."""
        inner = spline.linear(np.array(self.values), self.spec)
        before, after = np.array(self.scales, dtype=np.float64).tolist()
        return None if inner is None else after * inner * before


def bent(z: mx.array, values: mx.array, scales: mx.array, spec: Spline) -> mx.array:
    """s_out phi(s_in z), in float32 and rounded once to the precision of z [..., out]. `values`
    float32 [knots], `scales` float32 [2]: s_in and s_out."""
    return cast(mx.array, _curved(spec)(z, values, scales))


@functools.cache
def _curved(spec: Spline) -> Any:
    """(z, values, scales) -> s_out phi(s_in z), with its gradient to all three."""
    form = _Soft(spec) if spec.interpolation == "soft" else _Pieces(spec)
    knots = spline.knots(spec).astype(np.float32)

    @mx.custom_function
    def curved(z: mx.array, values: mx.array, scales: mx.array) -> mx.array:
        flat = z.reshape(-1, z.shape[-1])
        made: list[mx.array] = []
        for rows in _blocks(flat):
            u = scales[0] * _after(flat[rows], *made[-1:]).astype(mx.float32)
            phi = u + form.residual(u, values - mx.array(knots))
            made.append((scales[1] * phi).astype(z.dtype))
        return _joined(made, z.shape)

    @curved.vjp
    def back(given: tuple[mx.array, ...], above: mx.array, made: mx.array) -> tuple[mx.array, ...]:
        z, values, scales = given
        flat, over = (array.reshape(-1, z.shape[-1]) for array in (z, above))
        to_z: list[mx.array] = []
        to_values, to_scales = mx.zeros_like(values), mx.zeros_like(scales)
        for rows in _blocks(flat):
            wide = _after(flat[rows], *to_z[-1:], to_values, to_scales).astype(mx.float32)
            outer = over[rows].astype(mx.float32)
            u, weight = scales[0] * wide, scales[1] * outer
            residual, slope, moved = form.back(u, values - mx.array(knots), weight)
            rate = weight * (1.0 + slope)
            scaled = mx.stack([_total(rate * wide), _total(outer * (u + residual))])
            to_values, to_scales = to_values + moved, to_scales + scaled
            to_z.append((scales[0] * rate).astype(z.dtype))
        return _joined(to_z, z.shape), to_values, to_scales

    return curved


class _Pieces:
    """`piecewise`: r is each piece's slope times how far u went along it on its way from 0. Where
    the residual keeps its slope outside the grid, the first piece and the last have no end."""

    def __init__(self, spec: Spline) -> None:
        self._knots: list[float] = spline.knots(spec).tolist()
        self._step = spline.spacing(spec)
        self._endless = spec.outside == "linear"
        self._pieces = range(spec.knots - 1)

    def residual(self, u: mx.array, moved: mx.array) -> mx.array:
        slopes = self._slopes(moved)
        found = mx.zeros_like(u)
        for piece in self._pieces:
            found = found + slopes[piece] * self._along(u, piece)
            u = _after(u, found)
        return found

    def back(self, u: mx.array, moved: mx.array, weight: mx.array) -> Back:
        slopes = self._slopes(moved)
        found, slope = mx.zeros_like(u), mx.zeros_like(u)
        turns = []
        for piece in self._pieces:
            along = self._along(u, piece)
            found = found + slopes[piece] * along
            slope = mx.where(self._on(u, piece), slopes[piece], slope)
            turns.append(_total(weight * along))
            u = _after(u, found, slope, turns[-1])
        # A piece's slope is (its right end's v - k, less its left end's) / step.
        by_slope, none = mx.stack(turns) / self._step, mx.zeros((1,))
        return found, slope, mx.concatenate([none, by_slope]) - mx.concatenate([by_slope, none])

    def _slopes(self, moved: mx.array) -> mx.array:
        return (moved[1:] - moved[:-1]) / self._step

    def _ends(self, piece: int) -> tuple[float | None, float | None]:
        first, last = piece == 0, piece == len(self._pieces) - 1
        low = None if self._endless and first else self._knots[piece]
        return low, None if self._endless and last else self._knots[piece + 1]

    def _along(self, u: mx.array, piece: int) -> mx.array:
        start, stop = self._knots[piece], self._knots[piece + 1]
        return mx.clip(u, *self._ends(piece)) - (start if start >= 0.0 else stop)

    def _on(self, u: mx.array, piece: int) -> mx.array:
        low, high = self._ends(piece)
        if low is None:
            return u < self._knots[piece + 1]
        return u >= low if high is None else (u >= low) & (u < high)


class _Soft:
    """`soft`: r is the mean of v - k by weights exp(-((u - k)/step)^2), less that mean at 0. A
    weight never underflows for all knots: u is held inside the grid, half a step from one."""

    def __init__(self, spec: Spline) -> None:
        self._knots: list[float] = spline.knots(spec).tolist()
        self._step = spline.spacing(spec)
        self._low, self._high = spec.low, spec.high
        self._endless = spec.outside == "linear"
        ends = spline.weights([spec.low, spec.high], spec)
        from_centre = spline.knots(spec) - (ends @ spline.knots(spec))[:, None]
        self._at_ends = (ends * from_centre * (2.0 / self._step**2)).astype(np.float32)

    def residual(self, u: mx.array, moved: mx.array) -> mx.array:
        inside = mx.clip(u, self._low, self._high)
        total, lean = mx.zeros_like(u), mx.zeros_like(u)
        for place in range(len(self._knots)):
            raised = self._raised(inside, place)
            total, lean = total + raised, lean + moved[place] * raised
            inside = _after(inside, total, lean)
        found = lean / total - self._at_zero(moved)
        for slopes, beyond in self._beyond(u):
            found = found + (slopes * moved).sum() * beyond
        return found

    def back(self, u: mx.array, moved: mx.array, weight: mx.array) -> Back:
        inside = mx.clip(u, self._low, self._high)
        total = mx.zeros_like(u)
        for place in range(len(self._knots)):
            total = total + self._raised(inside, place)
            inside = _after(inside, total)
        part, at_zero = mx.reciprocal(total), self._shares_at_zero()
        lean, centre, both = (mx.zeros_like(u) for _ in range(3))
        shares = []
        for place, knot in enumerate(self._knots):
            share = self._raised(inside, place) * part
            lean, centre = lean + moved[place] * share, centre + knot * share
            both = both + (knot * moved[place]) * share
            # Number by number: where u is 0, as it is in a first step, nothing may be left of a
            # sum, or AdamW would make whole steps of it.
            shares.append(_total(weight * (share - at_zero[place])))
            inside = _after(inside, lean, centre, both, shares[-1])
        origin = mx.zeros((1,))
        for place in range(len(self._knots)):
            origin = origin + moved[place] * at_zero[place]
        found, slope = lean - origin, (both - centre * lean) * (2.0 / self._step**2)
        sums = mx.stack(shares)
        for slopes, beyond in self._beyond(u):
            found = found + (slopes * moved).sum() * beyond
            sums = sums + slopes * _total(weight * beyond)
        if not self._endless:
            slope = mx.where((u >= self._low) & (u <= self._high), slope, 0.0)
        return found, slope, sums

    def _raised(self, inside: mx.array, place: int) -> mx.array:
        away = (inside - self._knots[place]) * (1.0 / self._step)
        return exp2(mx.square(away) * -LOG2E)

    def _at_zero(self, moved: mx.array) -> mx.array:
        """The mean at 0 [1], by the arithmetic that it is taken from, so that phi(0) is 0."""
        nil = mx.zeros((1,))
        total, lean = nil, nil
        for place in range(len(self._knots)):
            raised = self._raised(nil, place)
            total, lean = total + raised, lean + moved[place] * raised
        return lean / total

    def _shares_at_zero(self) -> list[mx.array]:
        """As `back` works out its shares, each [1]."""
        raised = [self._raised(mx.zeros((1,)), place) for place in range(len(self._knots))]
        total = mx.zeros((1,))
        for one in raised:
            total = total + one
        part = mx.reciprocal(total)
        return [one * part for one in raised]

    def _beyond(self, u: mx.array) -> list[tuple[mx.array, mx.array]]:
        """At each end of a grid that r leaves with its slope: that slope's part of each knot, and
        how far u is outside."""
        if not self._endless:
            return []
        low, high = mx.array(self._at_ends)
        return [
            (low, mx.minimum(u - self._low, 0.0)),
            (high, mx.maximum(u - self._high, 0.0)),
        ]


def _blocks(flat: mx.array) -> list[slice]:
    """Rows of z [rows, out], some at a time."""
    step = max(1, BLOCK // flat.shape[1])
    return [slice(start, start + step) for start in range(0, len(flat), step)]


def _joined(parts: list[mx.array], shape: tuple[int, ...]) -> mx.array:
    whole = parts[0] if len(parts) == 1 else mx.concatenate(parts)
    return whole.reshape(shape)


def _total(x: mx.array) -> mx.array:
    """Row by row first: one running float32 sum over millions would lose digits."""
    return x.sum(axis=-1).sum()


def _after(x: mx.array, *done: mx.array) -> mx.array:
    """x, taken up only once `done` is: MLX would begin every knot and block before it ended one."""
    if not done:
        return x
    held: list[mx.array] = mx.depends([x], list(done))
    return held[0]

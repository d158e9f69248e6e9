"""LS-LoRA's learnable spline: phi(u) = u + sum_i (w_i(u) - w_i(0)) (v_i - k_i), in NumPy.

`w` are interpolation weights over the knots `k`, `v` the learned values. As written, phi is exactly
the identity while v = k, whatever the interpolation and however far outside the grid, and
phi(0) = 0 always. The backends compute the same in their own arrays; this is what reports, exports
and tests read it off.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from backends.contract import Spline

Wide = NDArray[np.float64]


def knots(spec: Spline) -> Wide:
    """k, float64 [knots], evenly from `low` to `high`; the one at 0 is exactly 0."""
    found = np.linspace(spec.low, spec.high, spec.knots)
    found[zero(spec)] = 0.0
    return found


def zero(spec: Spline) -> int:
    """Which knot is 0."""
    return round(-spec.low / spacing(spec))


def spacing(spec: Spline) -> float:
    return (spec.high - spec.low) / (spec.knots - 1)


def phi(u: Any, values: Any, spec: Spline) -> Wide:
    """u of any shape, `values` v [knots]; float64 of u's shape."""
    u, moved = np.asarray(u, np.float64), np.asarray(values, np.float64) - knots(spec)
    inside = np.clip(u, spec.low, spec.high)
    found: Wide = u + _weighted(inside, moved, spec) - _weighted(np.zeros(1), moved, spec)[0]
    if spec.outside == "linear":
        found += (u - inside) * _slope(inside, moved, spec)
    return found


def slopes(values: Any, spec: Spline) -> Wide:
    """phi's slope on each piece, float64 [knots - 1]; with `soft` interpolation, between each two
    knots the mean slope."""
    ends = phi(knots(spec), values, spec)
    return np.diff(ends) / np.diff(knots(spec))


def linear(values: Any, spec: Spline) -> float | None:
    """phi's one slope where phi is linear everywhere, to float32's rounding; None where it bends.

    Values on a line give a straight `piecewise` spline; a `soft` one flattens towards the ends of
    its grid, so it is straight only as the identity. With `clamp` the residual stops at the grid's
    ends, so that only the identity is linear.
    """
    moved = np.asarray(values, np.float64) - knots(spec)
    moved = moved - moved[zero(spec)]
    rounding = float(np.finfo(np.float32).eps) * max(abs(spec.low), abs(spec.high))
    if np.abs(moved).max() <= rounding:
        return 1.0
    if spec.interpolation == "soft" or spec.outside == "clamp":
        return None
    slope = moved[-1] / knots(spec)[-1]
    straight = np.abs(moved - slope * knots(spec)).max() <= rounding
    return 1.0 + float(slope) if straight else None


def weights(u: Any, spec: Spline) -> Wide:
    """w, float64 [..., knots], for u inside the grid: each row sums to 1."""
    u = np.asarray(u, np.float64)[..., None]
    away = (u - knots(spec)) / spacing(spec)
    if spec.interpolation == "piecewise":
        hats: Wide = np.maximum(0.0, 1.0 - np.abs(away))
        return hats
    raw = np.exp(-np.square(away))
    found: Wide = raw / raw.sum(axis=-1, keepdims=True)
    return found


def _weighted(u: Wide, moved: Wide, spec: Spline) -> Wide:
    found: Wide = weights(u, spec) @ moved
    return found


def _slope(u: Wide, moved: Wide, spec: Spline) -> Wide:
    """The residual's slope at u inside the grid; at its ends, the slope from within."""
    step = spacing(spec)
    if spec.interpolation == "piecewise":
        piece = np.clip(np.floor((u - spec.low) / step), 0, spec.knots - 2).astype(int)
        found: Wide = np.diff(moved)[piece] / step
        return found
    held = weights(u, spec)
    centre = (held @ knots(spec))[..., None]
    curved: Wide = (held * (knots(spec) - centre)) @ moved * (2.0 / step**2)
    return curved

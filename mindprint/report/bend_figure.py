"""phi of a group of layers, drawn small: the mean over its layers in the band of them all."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from markupsafe import Markup

from backends import spline
from backends.contract import Spline
from mindprint.report.spline import LayerSpline, SplinesRecord
from mindprint.report.svg import Line, Scale, figure_of, path, polyline, scale, text
from mindprint.report.words import figure, several

SIZE, EDGE, FLOOR = 132, 6, 14
BEYOND = 0.2
"""Of the grid's width, drawn on either side of it."""
BETWEEN = 6
"""Points from one knot to the next where phi is curved; a straight piece takes its two ends."""


def bend(record: SplinesRecord, sort: str, layers: Sequence[LayerSpline]) -> Markup:
    """phi(u) over u for layers of one sort, beside the identity (dashed); ticks are knots."""
    u = _places(record)
    made = np.stack([spline.phi(u, layer.values, spec_of(record)) for layer in layers])
    low, high = float(min(u[0], made.min())), float(max(u[-1], made.max()))
    x = scale(float(u[0]), float(u[-1]), EDGE, SIZE - EDGE)
    y = scale(low, high, SIZE - FLOOR, EDGE)
    parts = [
        path("axis", f"M{EDGE} {SIZE - FLOOR}H{SIZE - EDGE}"),
        *_ticks(record, x),
        path("axis identity", f"M{x(u[0]):.1f} {y(u[0]):.1f}L{x(u[-1]):.1f} {y(u[-1]):.1f}"),
        path("band", _band(u, made.min(axis=0), made.max(axis=0), x, y)),
        polyline(Line(list(zip(u, made.mean(axis=0), strict=True)), "phi", sort), x, y),
        text(round(x(record.low), 1), SIZE - 3, f"{record.low:g}", "middle"),
        text(round(x(record.high), 1), SIZE - 3, f"{record.high:g}", "middle"),
    ]
    return figure_of(parts, _title(sort, layers), SIZE, SIZE, "bend")


def spec_of(record: SplinesRecord) -> Spline:
    """The spline that the record is of, as phi takes it."""
    return Spline(
        knots=len(record.layers[0].values),
        low=record.low,
        high=record.high,
        interpolation=record.interpolation,
        outside=record.outside,
    )


def _places(record: SplinesRecord) -> spline.Wide:
    """Where phi is drawn: its knots, both ends beyond them, and points between if it is curved."""
    knots = spline.knots(spec_of(record))
    if record.interpolation == "soft":
        knots = np.linspace(record.low, record.high, BETWEEN * (len(knots) - 1) + 1)
    beyond = BEYOND * (record.high - record.low)
    return np.concatenate([[record.low - beyond], knots, [record.high + beyond]])


def _ticks(record: SplinesRecord, x: Scale) -> list[Markup]:
    floor, knots = SIZE - FLOOR, spline.knots(spec_of(record))
    return [path("axis", f"M{x(knot):.1f} {floor}V{floor - 4}") for knot in knots]


def _band(u: spline.Wide, low: spline.Wide, high: spline.Wide, x: Scale, y: Scale) -> str:
    """There along the highest values and back along the lowest."""
    there = [f"{x(at):.1f} {y(value):.1f}" for at, value in zip(u, high, strict=True)]
    back = [f"{x(at):.1f} {y(value):.1f}" for at, value in zip(u[::-1], low[::-1], strict=True)]
    return f"M{'L'.join([*there, *back])}Z"


def _title(sort: str, layers: Sequence[LayerSpline]) -> str:
    moved = sum(one.moved for one in layers) / len(layers)
    return f"phi of {several(len(layers), 'layer')} {sort}, moved {figure(moved)} from the identity"

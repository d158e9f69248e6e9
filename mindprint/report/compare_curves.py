"""Curves of several runs laid over each other, and how far they are apart on an axis of decades."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from mindprint.compare.model import Comparison, Curve
from mindprint.compare.partings import distance
from mindprint.report import compare_summary, svg
from mindprint.report import compare_words as said
from mindprint.report.svg import Line, Scale
from mindprint.report.words import figure

HUES, DASHES = 3, 4
"""Colours and dashes of the lines: twelve runs are told apart, by the dashes without a colour."""

HEIGHT, TOP, FLOOR = 74, 8, 62
LOWEST = 1e-12
"""Distances below this are drawn as this: what float64 itself rounds away is of no interest."""

HAIR = 1e-6
"""Of a decade: a bound, and what rounding puts a hair beside it, name the same end of an axis."""


def mark(at: int) -> str:
    """The CSS classes of a run's line; the first is a broad band that the others lie upon."""
    return "first" if at == 0 else f"hue{(at - 1) % HUES} dash{(at - 1) % DASHES}"


def overlay(comparison: Comparison, curve: Curve) -> Markup:
    """One line per run over the same steps."""
    names = [side.name for side in comparison.runs]
    lines = [
        Line(_drawn(curve.steps, values), mark(at), name)
        for at, (name, values) in enumerate(zip(names, curve.lines, strict=True))
    ]
    ends = "; ".join(
        f"{line.name} {figure(line.points[0][1])} to {figure(line.points[-1][1])}"
        for line in lines
        if line.points
    )
    title = f"{said.title(comparison, curve.topic)}: {said.figure_name(curve)}. {ends}"
    return svg.chart(lines, title, zero=curve.measure == "margin")


def apart(comparison: Comparison, curve: Curve) -> Markup:
    """The distance of each other run from the first at each step, with the bound; empty where no
    other run has a step in common with the first."""
    names = [side.name for side in comparison.runs]
    lines = [Line(distances(curve, at), mark(at), names[at]) for at in range(1, len(curve.lines))]
    lines = [line for line in lines if line.points]
    if not lines:
        return Markup("")
    bound = compare_summary.bound(comparison, curve)
    decades = Decades.of([y for line in lines for _, y in line.points], bound)
    x = svg.scale(curve.steps[0], curve.steps[-1], svg.LEFT, svg.WIDTH - svg.RIGHT)
    parts = _frame(decades, bound)
    for line in lines:
        drawn = [(step, decades.height(value)) for step, value in peaks(line.points)]
        parts.append(svg.polyline(Line(drawn, line.kind, line.name), x, lambda height: height))
    worst = "; ".join(f"{line.name} at most {said.distance(_most(line))}" for line in lines)
    held = f"; the bound is {said.distance(bound)}" if bound is not None else ""
    name = f"{said.title(comparison, curve.topic)}: {said.figure_name(curve)}"
    title = f"{name}, distance from {names[0]}: {worst}{held}"
    return svg.figure_of(parts, title, svg.WIDTH, HEIGHT, "chart apart")


def distances(curve: Curve, run: int) -> list[tuple[float, float]]:
    """(step, distance of `run` from the first run) at the steps that both have."""
    found = zip(curve.steps, curve.lines[0], curve.lines[run], strict=True)
    return _dotted(
        [
            (step, distance(curve.stage, curve.measure, first, other))
            for step, first, other in found
            if first is not None and other is not None
        ]
    )


def peaks(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """At most svg.MOST_POINTS: of each stretch the largest, so that none past a bound is lost."""
    size = math.ceil(len(points) / svg.MOST_POINTS)
    stretches = (points[at : at + size] for at in range(0, len(points), size))
    return [max(stretch, key=lambda point: point[1]) for stretch in stretches]


@dataclass(frozen=True)
class Decades:
    """An axis of powers of ten, from `low` to `high`. Distances of 0 stand on its floor."""

    low: int
    high: int
    zero: bool

    @classmethod
    def of(cls, values: Sequence[float], bound: float | None) -> Decades:
        shown = [max(value, LOWEST) for value in (*values, bound or 0.0) if value > 0]
        zero = any(value == 0 for value in values)
        if not shown:
            return cls(-9, 0, True)
        low = math.floor(math.log10(min(shown)) + HAIR) - (1 if zero else 0)
        return cls(low, max(math.ceil(math.log10(max(shown)) - HAIR), low + 1), zero)

    @property
    def scale(self) -> Scale:
        return svg.scale(self.low, self.high, FLOOR, TOP)

    @property
    def ends(self) -> tuple[str, str]:
        """The names of the floor and of the top."""
        return "0" if self.zero else _power(self.low), _power(self.high)

    def height(self, value: float) -> float:
        """Where a distance stands in the drawing."""
        return self.scale(math.log10(max(value, LOWEST)) if value > 0 else self.low)


def _frame(decades: Decades, bound: float | None) -> list[Markup]:
    low, high = decades.ends
    right = svg.WIDTH - svg.RIGHT
    parts = [
        svg.text(svg.LEFT - 6, TOP + 4, high, "end"),
        svg.text(svg.LEFT - 6, FLOOR + 3, low, "end"),
        svg.path("axis", f"M{svg.LEFT} {TOP}V{FLOOR}H{right}"),
    ]
    if bound is not None:
        parts.append(svg.path("gate", f"M{svg.LEFT} {decades.height(bound):.1f}H{right}"))
    return parts


def _power(exponent: int) -> str:
    return "1" if exponent == 0 else "10" if exponent == 1 else f"1e{exponent}"


def _drawn(steps: Sequence[int], values: Sequence[float | None]) -> list[tuple[float, float]]:
    found = zip(steps, values, strict=True)
    return _dotted([(step, value) for step, value in found if value is not None])


def _dotted(points: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """A line of one point is drawn as a dot: a line to itself, with round ends."""
    return points * 2 if len(points) == 1 else points


def _most(line: Line) -> float:
    return max(y for _, y in line.points)

"""Small figures as inline SVG, with a title that a screen reader speaks. Colours come from CSS."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

from mindprint.report.words import figure

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 256, 100, 46, 4, 8, 18
MOST_POINTS = 240

Scale = Callable[[float], float]


@dataclass(frozen=True)
class Line:
    """`points`: (step, value). `kind` is a CSS class; `name` is said in the figure's title."""

    points: Sequence[tuple[float, float]]
    kind: str
    name: str


def chart(lines: Sequence[Line], title: str, *, zero: bool = False) -> Markup:
    """Lines over steps, the y axis marked at its ends; `zero` puts 0 on it."""
    lines = [line for line in lines if line.points]
    if not lines:
        return Markup("")
    values = [y for line in lines for _, y in line.points]
    low, high = min([*values, 0.0] if zero else values), max([*values, 0.0] if zero else values)
    last = max(x for line in lines for x, _ in line.points)
    first = min(x for line in lines for x, _ in line.points)
    x, y = scale(first, last, LEFT, WIDTH - RIGHT), scale(low, high, HEIGHT - BOTTOM, TOP)
    parts = [
        text(LEFT - 6, TOP + 4, figure(high), "end"),
        text(LEFT - 6, HEIGHT - BOTTOM + 3, figure(low), "end"),
        text(WIDTH - RIGHT, HEIGHT - 3, f"step {last:g}", "end"),
        path("axis", f"M{LEFT} {TOP}V{HEIGHT - BOTTOM}H{WIDTH - RIGHT}"),
    ]
    if zero and low < 0 < high:
        parts.append(path("axis zero", f"M{LEFT} {y(0):.1f}H{WIDTH - RIGHT}"))
    parts += [polyline(line, x, y) for line in lines]
    return figure_of(parts, title, WIDTH, HEIGHT, "chart")


def polyline(line: Line, x: Scale, y: Scale) -> Markup:
    """A line of the page, thinned to what a screen shows."""
    points = " ".join(f"{x(a):.1f},{y(b):.1f}" for a, b in _thinned(line.points))
    return Markup('<polyline class="line {}" points="{}"><title>{}</title></polyline>').format(
        line.kind, points, line.name
    )


def path(kind: str, way: str) -> Markup:
    return Markup('<path class="{}" d="{}"/>').format(kind, way)


def circle(kind: str, x: float, y: float, radius: float) -> Markup:
    return Markup('<circle class="{}" cx="{:.1f}" cy="{:.1f}" r="{}"/>').format(kind, x, y, radius)


def bar(kind: str, start: float, end: float, y: float, height: float) -> Markup:
    """A lying rectangle from `start` to `end`, whichever is left, at least a hair wide."""
    left, width = min(start, end), max(abs(end - start), 0.6)
    return Markup(
        '<rect class="{}" x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{}" rx="{}"/>'
    ).format(kind, left, y - height / 2, width, height, min(height / 2, 3))


def figure_of(parts: Sequence[Markup], title: str, width: int, height: int, kind: str) -> Markup:
    """An SVG whose title says what a sighted reader sees."""
    return Markup(
        '<svg class="{}" role="img" viewBox="0 0 {} {}" aria-label="{}"><title>{}</title>{}</svg>'
    ).format(kind, width, height, title, title, Markup("").join(parts))


def text(x: float, y: float, said: str, anchor: str) -> Markup:
    return Markup('<text x="{}" y="{}" text-anchor="{}">{}</text>').format(
        x, y, anchor, escape(said)
    )


def scale(low: float, high: float, start: float, end: float) -> Scale:
    """A straight map from [low, high] to [start, end]; a flat range goes to the middle."""
    if high <= low:
        return lambda value: (start + end) / 2
    return lambda value: start + (value - low) * (end - start) / (high - low)


def _thinned(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """At most MOST_POINTS, evenly taken, first and last kept."""
    if len(points) <= MOST_POINTS:
        return list(points)
    step = (len(points) - 1) / (MOST_POINTS - 1)
    return [points[round(at * step)] for at in range(MOST_POINTS)]

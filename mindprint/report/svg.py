"""Small figures as inline SVG, with a title that a screen reader speaks. Colours come from CSS."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

from mindprint.report.words import figure

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 248, 100, 36, 4, 8, 18
MOST_POINTS = 240


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
    x, y = _scale(first, last, LEFT, WIDTH - RIGHT), _scale(low, high, HEIGHT - BOTTOM, TOP)
    parts = [
        _text(LEFT - 6, TOP + 4, figure(high), "end"),
        _text(LEFT - 6, HEIGHT - BOTTOM + 3, figure(low), "end"),
        _text(WIDTH - RIGHT, HEIGHT - 3, f"step {last:g}", "end"),
        Markup('<path class="axis" d="M{0} {1}V{2}H{3}"/>').format(
            LEFT, TOP, HEIGHT - BOTTOM, WIDTH - RIGHT
        ),
    ]
    if zero and low < 0 < high:
        parts.append(
            Markup('<path class="axis zero" d="M{0} {1:.1f}H{2}"/>').format(
                LEFT, y(0), WIDTH - RIGHT
            )
        )
    for line in lines:
        path = " ".join(f"{x(a):.1f},{y(b):.1f}" for a, b in _thinned(line.points))
        parts.append(
            Markup('<polyline class="line {}" points="{}"><title>{}</title></polyline>').format(
                line.kind, path, line.name
            )
        )
    return _figure(parts, title, WIDTH, HEIGHT, "chart")


def track(start: float | None, end: float | None, gate: float | None, title: str) -> Markup:
    """A share's way from `start` (hollow) to `end` (full) on 0..1, the gate as a tick."""
    width, height, edge = 132, 18, 6
    x = _scale(0.0, 1.0, edge, width - edge)
    parts = [Markup('<path class="rail" d="M{} 9H{}"/>').format(edge, width - edge)]
    if start is not None and end is not None:
        kind = "way" if end >= start else "way back"
        parts.append(
            Markup('<path class="{}" d="M{:.1f} 9H{:.1f}"/>').format(kind, x(start), x(end))
        )
    if gate is not None:
        parts.append(Markup('<path class="gate" d="M{:.1f} 3V15"/>').format(x(gate)))
    if start is not None:
        parts.append(Markup('<circle class="start" cx="{:.1f}" cy="9" r="3.4"/>').format(x(start)))
    if end is not None:
        parts.append(Markup('<circle class="end" cx="{:.1f}" cy="9" r="4.4"/>').format(x(end)))
    return _figure(parts, title, width, height, "track")


def _figure(parts: Sequence[Markup], title: str, width: int, height: int, kind: str) -> Markup:
    return Markup(
        '<svg class="{}" role="img" viewBox="0 0 {} {}" aria-label="{}"><title>{}</title>{}</svg>'
    ).format(kind, width, height, title, title, Markup("").join(parts))


def _text(x: float, y: float, text: str, anchor: str) -> Markup:
    return Markup('<text x="{}" y="{}" text-anchor="{}">{}</text>').format(
        x, y, anchor, escape(text)
    )


def _scale(low: float, high: float, start: float, end: float) -> Callable[[float], float]:
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

"""Figures of measured shares: a topic's track, places on the voice scale, words, the run's course.

Each shows its 95 % interval as a band and stands beside a table that says the same in figures.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from mindprint.report.svg import Scale, bar, circle, figure_of, path, scale, text
from mindprint.report.voicing import Point
from mindprint.report.words import share, span

TRACK_WIDTH, TRACK_EDGE = 148, 7
GAUGE_WIDTH, GAUGE_EDGE = 320, 8
# How far the voice scale is drawn beyond its anchors at least, and at most.
NARROW, WIDE = (-0.25, 1.25), (-1.0, 2.0)
SLOT, COURSE_HEIGHT, COURSE_LEFT, COURSE_TOP, COURSE_FLOOR = 64, 168, 34, 12, 138


@dataclass(frozen=True)
class Reach:
    """A figure and, where it was drawn, its 95 % interval."""

    value: float
    interval: tuple[float, float] | None = None


def track(start: Reach | None, end: Reach | None, gate: float | None, title: str) -> Markup:
    """A share's way from `start` (hollow) to `end` (full) on 0..1, each in the band of its
    interval, the pass mark as a tick."""
    middle = 11
    x = _held(scale(0.0, 1.0, TRACK_EDGE, TRACK_WIDTH - TRACK_EDGE), 0.0, 1.0)
    parts = [path("rail", f"M{TRACK_EDGE} {middle}H{TRACK_WIDTH - TRACK_EDGE}")]
    for reach, kind in ((start, "band pale"), (end, "band")):
        if reach is not None and reach.interval is not None:
            low, high = reach.interval
            parts.append(bar(kind, x(low), x(high), middle, 9))
    if start is not None and end is not None:
        parts.append(path("way", f"M{x(start.value):.1f} {middle}H{x(end.value):.1f}"))
    if gate is not None:
        parts.append(path("gate", f"M{x(gate):.1f} 3V{2 * middle - 3}"))
    if start is not None:
        parts.append(circle("start", x(start.value), middle, 3.4))
    if end is not None:
        parts.append(circle("end", x(end.value), middle, 4.4))
    return figure_of(parts, title, TRACK_WIDTH, 2 * middle, "track")


def voice_domain(reaches: Sequence[Reach]) -> tuple[float, float]:
    """What the voice scale must show: its anchors, and all that lies beyond them within reason."""
    ends = [end for reach in reaches for end in (reach.value, *(reach.interval or ()))]
    low = max(WIDE[0], min([NARROW[0], *ends]))
    high = min(WIDE[1], max([NARROW[1], *ends]))
    return low, high


def gauge(reach: Reach, domain: tuple[float, float], title: str) -> Markup:
    """A place on the voice scale: a bar from the base (0) with the interval's band, the author (1)
    as a tick. What lies beyond the drawing ends in an arrow at its edge."""
    middle = 11
    low, high = domain
    x = _held(scale(low, high, GAUGE_EDGE, GAUGE_WIDTH - GAUGE_EDGE), low, high)
    parts = [path("rail", f"M{GAUGE_EDGE} {middle}H{GAUGE_WIDTH - GAUGE_EDGE}")]
    parts += [path("anchor", f"M{x(at):.1f} 1V{2 * middle - 1}") for at in (0.0, 1.0)]
    if reach.interval is not None:
        parts.append(bar("band", x(reach.interval[0]), x(reach.interval[1]), middle, 12))
    parts.append(bar("fill", x(0.0), x(reach.value), middle, 5))
    parts.append(_tip(reach.value, x, domain, middle))
    return figure_of(parts, title, GAUGE_WIDTH, 2 * middle, "gauge")


def _tip(value: float, x: Scale, domain: tuple[float, float], middle: float) -> Markup:
    at = x(value)
    if value < domain[0]:
        return path("end", f"M{at - 6:.1f} {middle}l8 -5v10z")
    if value > domain[1]:
        return path("end", f"M{at + 6:.1f} {middle}l-8 -5v10z")
    return circle("end", at, middle, 4.4)


def gauge_axis(domain: tuple[float, float]) -> Markup:
    """The names of the two anchors over their ticks."""
    x = scale(*domain, GAUGE_EDGE, GAUGE_WIDTH - GAUGE_EDGE)
    parts = [text(round(x(0.0), 1), 12, "base 0", "middle")]
    parts.append(text(round(x(1.0), 1), 12, "author 1", "middle"))
    title = "The scale: 0 is the base, 1 the author"
    return figure_of(parts, title, GAUGE_WIDTH, 16, "gauge")


def diverging(value: float, most: float, title: str) -> Markup:
    """A bar to the right (overused) or to the left (underused) of the middle; `most` fills it."""
    middle, width = 8, 200
    x = scale(-most, most, 4, width - 4)
    kind = "over" if value >= 0 else "under"
    parts = [
        path("rail", f"M4 {middle}H{width - 4}"),
        bar(kind, x(0.0), x(value), middle, 7),
        path("anchor", f"M{x(0.0):.1f} 1V{2 * middle - 1}"),
    ]
    return figure_of(parts, title, width, 2 * middle, "diverging")


def course(points: Sequence[Point], topics: int, gate: float | None) -> Markup:
    """The voice at each moment of the run, on 0..1: a dot and its interval; a line through the
    states that stood; hollow dots were undone. Topics are numbered below."""
    width = COURSE_LEFT + SLOT * (topics + 1) + 6
    y = _held(scale(0.0, 1.0, COURSE_FLOOR, COURSE_TOP), 0.0, 1.0)
    parts = _course_frame(topics, width, y, gate)
    places = _course_places(points)
    stood = [
        f"{x:.1f},{y(point.reading.value):.1f}"
        for point, x in zip(points, places, strict=True)
        if point.stands
    ]
    parts.append(Markup('<polyline class="line" points="{}"/>').format(" ".join(stood)))
    for point, x in zip(points, places, strict=True):
        parts += _dot(point, x, y)
    told = "; ".join(f"{point.label} {share(point.reading.value)}" for point in points)
    return figure_of(parts, f"Voice over the run: {told}", width, COURSE_HEIGHT, "course")


def _course_frame(topics: int, width: int, y: Scale, gate: float | None) -> list[Markup]:
    parts = []
    for value, name in ((0.0, "0"), (0.5, ".5"), (1.0, "1")):
        parts.append(path("axis", f"M{COURSE_LEFT} {y(value):.1f}H{width - 6}"))
        parts.append(text(COURSE_LEFT - 8, round(y(value) + 4, 1), name, "end"))
    if gate is not None:
        parts.append(path("gate", f"M{COURSE_LEFT} {y(gate):.1f}H{width - 6}"))
    names = ["base", *(str(at) for at in range(1, topics + 1))]
    for at, name in enumerate(names):
        middle = COURSE_LEFT + SLOT * (at + 0.5)
        parts.append(text(middle, COURSE_HEIGHT - 8, name, "middle"))
    return parts


def _course_places(points: Sequence[Point]) -> list[float]:
    """Moments of one topic stand side by side in its slot."""
    counts = {point.place: sum(one.place == point.place for one in points) for point in points}
    seen = dict.fromkeys(counts, 0)
    places = []
    for point in points:
        seen[point.place] += 1
        within = seen[point.place] / (counts[point.place] + 1)
        places.append(COURSE_LEFT + SLOT * (point.place + within))
    return places


def _dot(point: Point, x: float, y: Scale) -> list[Markup]:
    reading = point.reading
    kind = "start" if point.undone else "end"
    said = f"{point.label}: {share(reading.value)}, 95 % {span(reading.low, reading.high)}"
    whisker = path("whisker", f"M{x:.1f} {y(reading.low):.1f}V{y(reading.high):.1f}")
    dot = Markup("<g><title>{}</title>{}</g>").format(
        said, circle(kind, x, y(reading.value), 3.6 if point.undone else 4.4)
    )
    return [whisker, dot]


def _held(onto: Scale, low: float, high: float) -> Scale:
    """The same map, with what lies outside held at the edge."""
    return lambda value: onto(min(max(value, low), high))

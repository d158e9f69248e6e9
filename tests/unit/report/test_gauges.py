"""Shares, places on the voice scale, words and the run's course, drawn to scale."""

from __future__ import annotations

import re

import pytest

from mindprint.report.gauges import (
    GAUGE_EDGE,
    GAUGE_WIDTH,
    Reach,
    course,
    diverging,
    gauge,
    track,
    voice_domain,
)
from mindprint.report.voicing import Point
from tests.unit.report.example_voice import reading


def numbers(svg: str, pattern: str) -> list[float]:
    found = re.search(pattern, svg)
    assert found is not None
    return [float(group) for group in found.groups()]


def test_a_track_runs_from_hollow_to_full() -> None:
    # 0..1 over 134 units from 7: 0.5 in the middle at 74.
    svg = track(Reach(0.0), Reach(1.0), 0.5, "t")
    assert 'class="start" cx="7.0"' in svg and 'class="end" cx="141.0"' in svg
    assert 'class="gate" d="M74.0' in svg
    assert "gate" not in track(Reach(0.9), Reach(0.1), None, "t")


def test_the_interval_is_a_band_on_the_track() -> None:
    svg = track(Reach(0.0), Reach(0.75, (0.5, 1.0)), None, "t")
    left, width = numbers(svg, r'class="band" x="([\d.]+)" y="[\d.]+" width="([\d.]+)"')
    assert (left, width) == (74.0, 67.0)
    assert "band" not in track(Reach(0.0), Reach(0.75), None, "t")


def test_the_voice_scale_shows_what_lies_beyond_its_anchors() -> None:
    assert voice_domain([Reach(0.5, (0.4, 0.6))]) == (-0.25, 1.25)
    assert voice_domain([Reach(1.3, (1.1, 1.5)), Reach(-0.4)]) == (-0.4, 1.5)
    assert voice_domain([Reach(9.0, (-7.0, 30.0))]) == (-1.0, 2.0)  # within reason


def test_a_gauge_is_drawn_to_scale() -> None:
    domain = (-0.25, 1.25)
    unit = (GAUGE_WIDTH - 2 * GAUGE_EDGE) / 1.5
    svg = gauge(Reach(0.75, (0.5, 1.0)), domain, "t")
    zero = GAUGE_EDGE + 0.25 * unit
    left, width = numbers(svg, r'class="fill" x="([\d.]+)" y="[\d.]+" width="([\d.]+)"')
    # Coordinates are written with one decimal.
    assert left == pytest.approx(zero, abs=0.05) and width == pytest.approx(0.75 * unit, abs=0.05)
    (at,) = numbers(svg, r'class="end" cx="([\d.]+)"')
    assert at == pytest.approx(zero + 0.75 * unit, abs=0.05)


def test_a_bar_below_the_base_grows_to_the_left() -> None:
    below = gauge(Reach(-0.2), (-0.25, 1.25), "t")
    zero = GAUGE_EDGE + 0.25 * (GAUGE_WIDTH - 2 * GAUGE_EDGE) / 1.5
    left, width = numbers(below, r'class="fill" x="([\d.]+)" y="[\d.]+" width="([\d.]+)"')
    assert left + width == pytest.approx(zero, abs=0.1) and left < zero


def test_what_leaves_the_drawing_ends_in_an_arrow() -> None:
    for value in (9.0, -9.0):
        svg = gauge(Reach(value, (value - 1, value + 1)), (-1.0, 2.0), "t")
        assert '<path class="end"' in svg and "<circle" not in svg
        inside = [float(x) for x in re.findall(r' x="(-?[\d.]+)"', svg)]
        assert all(0 <= x <= GAUGE_WIDTH for x in inside)


def test_words_diverge_from_the_middle() -> None:
    over = numbers(diverging(4.0, 4.0, "t"), r'class="over" x="([\d.]+)".*?width="([\d.]+)"')
    under = numbers(diverging(-2.0, 4.0, "t"), r'class="under" x="([\d.]+)".*?width="([\d.]+)"')
    assert over == [100.0, 96.0] and under == [52.0, 48.0]


def point(place: int, value: float, *, undone: bool = False) -> Point:
    return Point(place, f"at {place}", reading(value), not undone, undone)


def test_the_course_joins_what_stood_and_leaves_out_what_was_undone() -> None:
    svg = course([point(0, 0.0), point(1, 0.5), point(1, 0.1, undone=True)], 1, 0.75)
    line = re.search(r'class="line" points="([^"]*)"', svg)
    assert line is not None and len(line[1].split()) == 2
    assert svg.count('class="end"') == 2 and svg.count('class="start"') == 1
    assert "at 1 0.50" in svg and 'class="gate"' in svg
    heights = [float(pair.split(",")[1]) for pair in line[1].split()]
    assert heights[0] > heights[1]  # higher is better

"""Figures drawn to scale."""

from __future__ import annotations

import math
import re

from mindprint.report.svg import (
    BOTTOM,
    HEIGHT,
    LEFT,
    MOST_POINTS,
    RIGHT,
    TOP,
    WIDTH,
    Line,
    chart,
)


def points(svg: str) -> list[tuple[float, float]]:
    drawn = re.search(r'points="([^"]*)"', svg)
    assert drawn is not None
    return [(float(x), float(y)) for x, y in (pair.split(",") for pair in drawn[1].split())]


def test_ends_of_a_line_are_the_corners() -> None:
    # Step 1 at the left edge with the highest value, step 3 at the right with the lowest; step 2
    # half way across and, at 1.0 of 0.0 to 4.0, three quarters of the way down.
    svg = chart([Line([(1, 4.0), (2, 1.0), (3, 0.0)], "sft", "SFT")], "loss")
    floor = HEIGHT - BOTTOM
    assert points(svg) == [
        (LEFT, TOP),
        ((LEFT + WIDTH - RIGHT) / 2, TOP + 0.75 * (floor - TOP)),
        (WIDTH - RIGHT, floor),
    ]


def test_a_flat_line_and_a_single_point_stay_inside() -> None:
    for line in ([(1, 2.0), (2, 2.0)], [(5, 1.0)]):
        for x, y in points(chart([Line(line, "sft", "SFT")], "loss")):
            assert LEFT <= x <= WIDTH - RIGHT and TOP <= y <= HEIGHT - BOTTOM


def test_long_curves_are_thinned_and_keep_their_ends() -> None:
    curve = [(at, math.cos(at)) for at in range(10_000)]
    drawn = points(chart([Line(curve, "sft", "SFT")], "loss"))
    assert len(drawn) == MOST_POINTS
    assert drawn[0][0] == LEFT and drawn[-1][0] == WIDTH - RIGHT


def test_zero_is_on_the_axis_of_a_margin() -> None:
    assert ">0</text>" in chart([Line([(1, 0.5), (2, 2.0)], "margin", "DPO")], "m", zero=True)
    assert 'class="axis zero"' in chart([Line([(1, -1), (2, 2)], "margin", "DPO")], "m", zero=True)


def test_no_points_no_figure() -> None:
    assert chart([Line([], "sft", "SFT")], "loss") == ""


def test_titles_are_escaped() -> None:
    assert "<b>" not in chart([Line([(1, 1.0)], "sft", "<b>")], "<b>")

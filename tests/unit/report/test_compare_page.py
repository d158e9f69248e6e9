"""A comparison's page: sound, escaped, readable without colour, and true to the figures."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

from mindprint.compare.model import Comparison, Curve
from mindprint.report import compare_curves, svg
from mindprint.report.compare_html import page
from tests.unit.report import compare_example
from tests.unit.report.test_escaping import ACTS, HOSTILE, tags
from tests.unit.report.test_html import flat, outline

EXAMPLES = {
    "alike": compare_example.alike,
    "three": compare_example.three,
    "apart": compare_example.apart,
}
Made = Callable[[], Comparison]


def hostile(value: Any) -> Any:
    """Every text of a comparison that its shape leaves free with hostile text after it."""
    kept = {"stage", "measure", "kind", "state", "name", "run", "engine", "topic", "id"}
    if isinstance(value, dict):
        return {key: one if key in kept else hostile(one) for key, one in value.items()}
    if isinstance(value, list):
        return [hostile(one) for one in value]
    return f"{value}{HOSTILE}" if isinstance(value, str) else value


def poisoned() -> Comparison:
    tree: dict[str, Any] = compare_example.three().model_dump(mode="json")
    for stage in tree["runs"]:
        stage["stages"] = []
    bad: dict[str, Any] = hostile(tree)
    bad["topics"] = [{**topic, "id": topic["id"]} for topic in bad["topics"]]
    return Comparison.model_validate(bad)


@pytest.mark.parametrize("made", EXAMPLES.values(), ids=EXAMPLES)
def test_every_comparison_makes_a_sound_page(made: Made) -> None:
    html = page(made())
    found = outline(html)
    assert not {"script", "link", "img", "iframe"} & set(found.tags)
    assert not re.search(r"(src|href)=|url\(|@import|https?://", html)
    assert not re.search(r"\b(None|nan|inf|Undefined)\b|\{[{%]", " ".join(found.said))
    drawn = [figure for figure in found.figures if figure.get("class") != "key"]
    assert drawn and all(figure["role"] == "img" and figure["aria-label"] for figure in drawn)
    assert all(figure["aria-label"] for figure in drawn) and all(found.tables)


def test_what_differs_comes_before_every_figure() -> None:
    order = [
        flat(page(compare_example.three())).find(f'<h2 id="{name}">')
        for name in (
            "differs",
            "scores",
            "steps",
            "answers",
            "adapters",
            "cost",
            "folders",
        )
    ]
    assert order == sorted(order) and order[0] > 0


def test_texts_of_others_are_text() -> None:
    html = page(poisoned())
    clean = page(compare_example.three())
    assert {tag for tag, _ in tags(html)} <= {tag for tag, _ in tags(clean)} | {"code"}
    assert not [name for _, attrs in tags(html) for name, _ in attrs if name.startswith("on")]
    assert "&lt;script&gt;" in html and not ACTS.search(html)


def test_lines_are_told_apart_without_colour() -> None:
    marks = [compare_curves.mark(at) for at in range(12)]
    assert len(set(marks)) == 12
    assert len({one.split()[-1] for one in marks[:5]}) == 5  # five runs by their dashes alone
    html = page(compare_example.three())
    legend = html.split("sides-legend")[1].split("</ul>")[0]
    for at, name in enumerate(("mlx", "torch", "trl")):
        assert f'class="line {marks[at]}" d="M2 4H30"/></svg>{name}</li>' in flat(legend)
    for mark in marks:
        assert all(f".{kind} {{" in html for kind in mark.split() if kind != "dash0")


def test_a_bound_is_in_the_legend_only_where_one_is_claimed() -> None:
    assert '<i class="rule"></i>bound' in page(compare_example.alike())
    assert '<i class="rule"></i>bound' not in page(compare_example.apart())


def test_a_table_that_goes_on_has_an_edge() -> None:
    """A narrow window cuts wide tables off: shadows say on which side there is more."""
    css = page(compare_example.alike())
    assert re.search(r"\.scroll \{[^}]*no-repeat local[^}]*var\(--edge\)[^}]*no-repeat scroll", css)


def test_the_head_says_the_worst_of_all_runs() -> None:
    alike, three = (flat(page(EXAMPLES[name]())) for name in ("alike", "three"))
    assert '<span class="passed">≤ 4.1e-6 apart</span>' in alike
    assert '<span class="failed">part at step 2</span>' in three
    assert "32.5 % equal" in three and "99.6 % equal" in alike
    assert "trl: other topics are in force" in three
    assert "They do not part" in alike and "They do not part" not in three
    assert "no bound is claimed for large" in flat(page(compare_example.apart()))


def heights(figure: str) -> list[list[float]]:
    """The y of each point of each line of a drawing."""
    found = re.findall(r'<polyline[^>]* points="([^"]*)"', figure)
    return [[float(point.split(",")[1]) for point in line.split()] for line in found]


def curve(first: tuple[float, ...], other: tuple[float | None, ...]) -> Curve:
    steps = tuple(range(1, len(first) + 1))
    return Curve(
        topic=compare_example.SCALES,
        stage="sft",
        attempt=0,
        measure="loss",
        steps=steps,
        lines=(first, other),
    )


def test_the_distance_stands_on_an_axis_of_decades() -> None:
    comparison = compare_example.alike()
    apart = (1e-7, 1e-6, 1e-5)
    one = curve((2.0,) * 3, tuple(2.0 * (1 + far) for far in apart))
    drawn = str(compare_curves.apart(comparison, one))
    (line,) = heights(drawn)
    assert line[0] - line[1] == pytest.approx(line[1] - line[2], abs=0.2)  # a decade is a decade
    assert ">1e-5</text>" in drawn and ">1e-7</text>" in drawn
    gate = re.search(r'class="gate" d="M\d+ ([\d.]+)H', drawn)
    assert gate is not None and float(gate[1]) == pytest.approx(line[2], abs=0.2)
    assert "torch at most 1e-5; the bound is 1e-5" in drawn


def test_no_distance_at_all_stands_on_the_floor() -> None:
    drawn = str(compare_curves.apart(compare_example.alike(), curve((2.0, 1.0), (2.0, 1.0))))
    assert heights(drawn) == [[float(compare_curves.FLOOR)] * 2] and ">0</text>" in drawn


def test_one_step_is_a_dot_and_no_step_in_common_no_drawing() -> None:
    comparison = compare_example.alike()
    assert len(heights(str(compare_curves.overlay(comparison, curve((2.0,), (2.1,)))))[0]) == 2
    assert compare_curves.apart(comparison, curve((2.0,), (None,))) == ""


def test_no_step_past_a_bound_is_thinned_away() -> None:
    """Of 5000 steps a few hundred are drawn, the one that parts among them."""
    points = [(step, 0.02 if step == 3333 else 1e-7) for step in range(1, 5001)]
    kept = compare_curves.peaks(points)
    assert len(kept) <= svg.MOST_POINTS and (3333, 0.02) in kept

"""What became of LS-LoRA's splines, as the page, the Markdown report and a terminal tell it."""

from __future__ import annotations

import re

import numpy as np
import pytest

from backends import spline
from mindprint.report.bend_figure import BEYOND, EDGE, FLOOR, SIZE, bend, spec_of
from mindprint.report.bends import groups, kept, layer_table, told, topic_table
from mindprint.report.html import page
from mindprint.report.markdown import document
from mindprint.report.model import Result
from mindprint.report.spline import LayerSpline, SplinesRecord
from mindprint.report.text import plain
from tests.unit.report.example import example
from tests.unit.report.test_html import outline

IDENTITY = (-3.0, -1.5, 0.0, 1.5, 3.0)
BENT = (-3.0, -2.0, 0.0, 1.0, 4.5)


def layer(name: str, values: tuple[float, ...] = BENT, moved: float = 0.5) -> LayerSpline:
    return LayerSpline(
        layer=name,
        values=values,
        scales=(1.1, 0.9),
        moved=moved,
        slope_variance=0.25,
        inner=0.75,
        outside=0.05,
    )


def record(*layers: LayerSpline, interpolation: str = "piecewise") -> SplinesRecord:
    tree = {"low": -3.0, "high": 3.0, "interpolation": interpolation, "outside": "linear"}
    made = layers or (
        layer("model.layers.0.self_attn.q_proj"),
        layer("model.layers.0.mlp.up_proj", IDENTITY, moved=0.0),
        layer("model.layers.1.self_attn.q_proj", moved=1.25),
    )
    return SplinesRecord.model_validate({**tree, "rows": 28, "layers": made})


@pytest.fixture(scope="module")
def result() -> Result:
    """The example with splines in every stage; where a DPO was undone, other ones."""
    whole = example()
    topics = []
    for topic in whole.topics:
        stages = [
            one.model_copy(update={"splines": record() if one.accepted else record(layer("odd"))})
            for one in topic.stages
        ]
        topics.append(topic.model_copy(update={"stages": tuple(stages)}))
    return whole.model_copy(update={"topics": tuple(topics)})


def points(svg: str) -> list[tuple[float, float]]:
    drawn = re.search(r'points="([^"]*)"', svg)
    assert drawn is not None
    return [(float(x), float(y)) for x, y in (pair.split(",") for pair in drawn[1].split())]


def test_the_page_draws_each_sort_of_layer_beside_a_table(result: Result) -> None:
    html = page(result)
    parsed = outline(html)
    drawn = [one for one in parsed.figures if one.get("class") == "bend"]
    assert len(drawn) == 2 * len(result.topics) and all(parsed.tables) and parsed.untold == []
    labels = [str(one["aria-label"]) for one in drawn[:2]]
    assert labels[0] == "phi of 2 layers q_proj, moved 0.875 from the identity"
    assert "How the splines bent" in html and "<code>adapter.identity_penalty</code>" in html
    assert "model.layers.1.self_attn.q_proj" in html
    assert "How the splines bent" not in page(example())


def test_a_spline_that_is_the_identity_lies_on_the_dashed_line() -> None:
    svg = bend(record(), "up_proj", [layer("up_proj", IDENTITY)])
    at = points(svg)
    assert (at[0], at[-1]) == ((EDGE, SIZE - FLOOR), (SIZE - EDGE, EDGE))
    slope = (at[-1][1] - at[0][1]) / (at[-1][0] - at[0][0])
    assert all(abs(y - at[0][1] - slope * (x - at[0][0])) < 0.2 for x, y in at)  # two roundings


@pytest.mark.parametrize("interpolation", ["piecewise", "soft"])
def test_what_is_drawn_is_phi(interpolation: str) -> None:
    """Read back off the drawing's own axes, a tenth of a pixel being its grain."""
    made = record(layer("q_proj"), interpolation=interpolation)
    at = np.array(points(bend(made, "q_proj", made.layers)))
    ends = (made.low - BEYOND * 6, made.high + BEYOND * 6)
    u = ends[0] + (at[:, 0] - EDGE) / (SIZE - 2 * EDGE) * (ends[1] - ends[0])
    phi = spline.phi(u, BENT, spec_of(made))
    low, high = min(ends[0], phi.min()), max(ends[1], phi.max())
    drawn = low + (SIZE - FLOOR - at[:, 1]) / (SIZE - FLOOR - EDGE) * (high - low)
    assert np.abs(drawn - phi).max() < 0.2
    assert len(at) == (7 if interpolation == "piecewise" else 27)


def test_a_band_holds_all_layers_of_a_sort() -> None:
    made = record()
    svg = bend(made, "q_proj", [layer("a.q_proj", IDENTITY), layer("b.q_proj")])
    band = re.search(r'class="band" d="M([^"]*)Z"', svg)
    assert band is not None
    corners = [tuple(map(float, pair.split())) for pair in band[1].split("L")]
    line = points(svg)
    there, back = corners[: len(line)], corners[: len(line) - 1 : -1]
    for (_, top), (_, mean), (_, bottom) in zip(there, line, back, strict=True):
        assert top - 0.11 <= mean <= bottom + 0.11


def test_markdown_has_a_line_for_each_sort_and_the_findings(result: Result) -> None:
    text = document(result)
    assert "## How the splines bent" in text
    line = (
        "| The lamp and its oil | SFT | q_proj | 2 | 0.875 | 1.25 | 0.25 | 1.1 | 0.9 | 75 % | 5 % |"
    )
    assert line in text.replace("\u00a0", " ")
    assert (
        "- The lamp and its oil, SFT: in 1 of 3 layers the spline's values lie more than 1" in text
    )
    assert "How the splines bent" not in document(example())


def test_a_terminal_has_a_line_for_each_topic(result: Result) -> None:
    lines = plain(topic_table(result)).splitlines()
    assert len(lines) == 2 + len(result.topics)
    figures = ("3", "0.583", "1.25", "0.25", "1.1", "0.9", "75\u00a0%", "5\u00a0%")
    assert topic_table(result).rows[0][2:] == figures
    assert len(told(result)) == len(result.topics)
    assert topic_table(example()).rows == () and told(example()) == []


def test_an_undone_stage_is_not_the_one_that_is_shown(result: Result) -> None:
    """The fourth topic's DPO was rolled back: its SFT stands."""
    found = kept(result.topics[3])
    assert found is not None and found[0].name == "sft"
    assert [one.layer for one in found[1].layers] != ["odd"]


def test_tables_name_every_layer() -> None:
    assert list(groups(record())) == ["q_proj", "up_proj"]
    assert [row[0] for row in layer_table(record()).rows] == [one.layer for one in record().layers]

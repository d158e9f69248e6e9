"""A comparison in words: for a terminal and as Markdown."""

from __future__ import annotations

from pathlib import Path

import pytest
from markdown_it import MarkdownIt

from mindprint.compare.model import Comparison
from mindprint.disk.sealed import read_json
from mindprint.report import compare_summary, compare_tables, compare_words
from mindprint.report.compare_files import write_comparison
from mindprint.report.compare_markdown import document
from mindprint.report.compare_text import text
from mindprint.report.text import Table
from tests.unit.report.compare_example import alike, apart, three
from tests.unit.report.test_compare_page import poisoned
from tests.unit.report.test_escaping import ACTS, tags


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (7.84e-7, "7.8e-7"),
        (1e-5, "1e-5"),
        (0.00996, "0.01"),
        (0.013, "0.013"),
        (0.0, "0"),
        (1.0, "1"),
        (123.4, "123"),
        (2.5e12, "2.5e12"),
        (None, "–"),
    ],
)
def test_a_distance_is_short(value: float | None, told: str) -> None:
    assert compare_words.distance(value) == told


def test_a_share_is_never_rounded_up_to_all() -> None:
    assert compare_words.part(9999, 10_000) == "9\u202f999 of 10\u202f000 (99.9\u00a0%)"
    assert compare_words.part(26, 26) == "26 of 26 (100.0\u00a0%)"
    assert compare_words.part(0, 0) == "–"


def column(table: Table, name: str) -> list[str]:
    at = table.head.index(name)
    return [row[at] for row in table.rows]


def test_scores_say_which_difference_is_noise() -> None:
    table = compare_tables.scores(three())
    told = dict(
        zip(
            zip(column(table, "topic"), column(table, "measure"), strict=True),
            column(table, "torch − mlx"),
            strict=True,
        )
    )
    assert told["Scales & weights", "accuracy"].endswith("within\u00a0noise")
    assert told["Sorting", "accuracy"] == "+0.07 (+0.01\u00a0to\u00a0+0.13), higher"
    assert column(table, "trl")[0] == "0.71" and "– pending" in column(table, "trl")
    assert column(table, "trl − mlx")[0].endswith("lower")


def test_cost_gives_ratios_to_the_first() -> None:
    table = compare_tables.cost(alike())
    speed = next(row for row in table.rows if row[0] == "SFT tokens/s")
    assert speed == ("SFT tokens/s", "4\u202f000", "5\u202f200 (×1.30)")
    memory = next(row for row in table.rows if row[0] == "memory at most")
    assert memory[2].endswith("(×1.38)")


def test_a_terminal_gathers_stages_and_keeps_the_worst() -> None:
    table = compare_tables.together(three())
    rows = {(row[0], row[1]): row for row in table.rows}
    assert len(rows) == len(table.rows) == 6
    assert rows["torch", "SFT loss"][2:7] == ("2", "240", "1e-5", "0 of 2", "7.8e-7")
    assert rows["trl", "SFT loss"][5] == "2 of 2"


def test_who_parted_and_who_could_not_be_held() -> None:
    assert compare_summary.apart(alike()) == compare_summary.unbound(alike()) == ()
    assert compare_summary.apart(three()) == ("trl",) and compare_summary.unbound(three()) == ()
    assert compare_summary.apart(apart()) == () and compare_summary.unbound(apart()) == ("large",)


@pytest.mark.parametrize("render", [text, document])
def test_the_order_is_the_pages(render: object) -> None:
    said = render(three())  # type: ignore[operator]
    places = [said.lower().find(word) for word in ("what differs", "scales", "a guess: the first")]
    assert places == sorted(places) and places[0] > 0
    assert "leaves at step 2 of SFT of Scales & weights" in said


@pytest.mark.parametrize("made", [alike, three, apart, poisoned])
def test_markdown_is_read_as_it_was_written(made: object) -> None:
    said = document(made())  # type: ignore[operator]
    assert not ACTS.search(said)
    html = MarkdownIt("commonmark", {"html": True}).enable("table").render(said)
    assert not {tag for tag, _ in tags(html)} & {"script", "img", "a", "iframe"}
    assert html.count("<table>") >= 6


def test_it_is_written_whole_and_again(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "comparison"
    for comparison in (three(), alike()):
        written = write_comparison(folder, comparison)
        assert written == folder / "comparison.html"
        names = {path.name for path in folder.iterdir()}
        assert names == {"comparison.json", "comparison.html", "comparison.md"}
        assert Comparison.model_validate(read_json(folder / "comparison.json")) == comparison

"""A comparison in words: for a terminal and as Markdown."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from markdown_it import MarkdownIt

from mindprint.compare.model import Comparison, Gap
from mindprint.disk.sealed import read_json
from mindprint.report import compare_summary, compare_tables, compare_words
from mindprint.report.compare_files import write_comparison
from mindprint.report.compare_markdown import document
from mindprint.report.compare_text import text
from mindprint.report.text import Table
from tests.unit.report.compare_example import SORTING, alike, apart, three
from tests.unit.report.test_compare_page import poisoned
from tests.unit.report.test_escaping import ACTS, tags

Render = Callable[[Comparison], str]


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


def test_a_dropped_run_is_named_as_one() -> None:
    two = alike()
    less = two.runs[1].model_copy(update={"dropped": ("a",), "stages": (), "seconds": {}})
    unpaired = two.overall[0].model_copy(update={"accuracy": None})
    made = two.model_copy(update={"runs": (two.runs[0], less), "overall": (unpaired,)})
    assert compare_tables.runs(made).rows[1][1] == "torch on cpu, float32, without 1 topic"
    told = [row[2] for row in compare_tables.cost(made).rows if row[0] != "memory at most"]
    assert set(told) == {"–"}
    accuracy = next(one for one in compare_summary.facts(made) if one.name == "Accuracy")
    assert accuracy.told == "a topic was dropped: not the scores of one state"


@pytest.mark.parametrize("render", [text, document])
def test_the_voice_has_a_difference_or_says_why_not(render: Render) -> None:
    said = render(alike())
    assert "voice of the run at its end" in said and "voice, mean of topics" in said
    assert "The voice is not paired" not in said
    rows = compare_tables.scores(alike()).rows
    assert [row[-1].endswith("noise") for row in rows if row[1].startswith("voice")] == [True] * 3
    two = alike()
    why = two.overall[0].model_copy(
        update={"voice_change": None, "voice_because": "the curriculum is gone"}
    )
    said = render(two.model_copy(update={"overall": (why,)}))
    assert "The voice is not paired for torch: the curriculum is gone." in said


@pytest.mark.parametrize("render", [text, document])
def test_where_an_answer_is_of_is_said_as_it_was(render: Render) -> None:
    """Each topic is asked at its own end, and not the finished model."""
    assert "at each topic's end" in render(alike()) and "as it ended" not in render(alike())


def test_the_first_parting_is_the_first_of_the_course() -> None:
    """Step 40 of the first stage comes before step 2 of a later one."""
    late = three().first[0].model_copy(update={"run": "torch", "topic": SORTING, "step": 2})
    early = three().first[0].model_copy(update={"step": 40, "where": "step 40 of SFT of Scales"})
    made = three().model_copy(update={"first": (late, early)})
    fact = compare_summary.facts(made)[0]
    assert fact.value == "part at step 40"
    assert fact.told.startswith("trl: step 40 of SFT of Scales")


@pytest.mark.parametrize("render", [text, document])
def test_adapters_past_their_bound_are_marked(render: Render) -> None:
    far = alike().distances[0].model_copy(update={"relative": 24.0, "bound": 1e-3})
    undone = alike().distances[1].model_copy(update={"stage": "SFT, rolled back"})
    made = alike().model_copy(update={"distances": (far, undone)})
    assert "0.001, past it" in render(made) and "SFT, rolled back" in render(made)
    assert not compare_summary.kept(made) and "They do not part" not in render(made)
    assert compare_summary.facts(made)[2].kind == "failed"
    assert compare_summary.broken(made) == (
        "the adapters of torch are 24 of the update apart, the bound is 0.001",
    )


def test_steps_are_not_called_kept_where_some_were_not_compared() -> None:
    gap = Gap(run="torch", kind="missing", topic=SORTING, told="`mlx` trained DPO, `torch` did not")
    made = alike().model_copy(update={"gaps": (gap,)})
    fact = compare_summary.facts(made)[0]
    assert fact.kind == "" and gap.told in fact.told and "They do not part" not in document(made)
    assert compare_summary.broken(made) == (f"torch: {gap.told}",)


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

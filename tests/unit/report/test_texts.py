"""Tables, the Markdown report and the model card."""

from __future__ import annotations

import math

import pytest

from mindprint.report import summary, words
from mindprint.report.card import card
from mindprint.report.endings import ending, told
from mindprint.report.markdown import document
from mindprint.report.model import Result
from mindprint.report.scores import Difference
from mindprint.report.shifts import shift, tally
from mindprint.report.tables import (
    CURVE_ROWS,
    NO_ROW_DROPPED,
    broken_table,
    curve_table,
    data_table,
    dropped,
)
from mindprint.report.text import Table, full_topic_table, markdown, plain, topic_table
from mindprint.report.words import change, figure, parameters, seconds, several, size
from tests.unit.report.example import FINAL, begun, example, without_voice
from tests.unit.report.example_voice import unmeasurable

TABLE = """\
topic                       status            base   SFT   DPO  final       95 %  change
──────────────────────────  ──────  ────────  ────  ────  ────  ─────  ─────────  ─────────────────
The lamp and its oil        passed  accuracy  0.02  0.94     –   0.94  0.83–1.00  +0.92, clear rise
                                    voice     0.00  0.78     –   0.78  0.71–0.85  +0.78 since base
Fog signals                 passed  accuracy  0.02  0.91  0.90   0.91  0.80–1.00  +0.89, clear rise
                                    voice     0.00  0.31  0.76   0.76  0.69–0.83  +0.76 since base
The keeper's day            passed  accuracy  0.02  0.97     –   0.97  0.86–1.00  +0.95, clear rise
                                    voice     0.00  0.80     –   0.80  0.73–0.87  +0.80 since base
Tides of the sound          passed  accuracy  0.02  0.83  0.06   0.83  0.72–0.94  +0.81, clear rise
                                    voice     0.00  0.79  0.12   0.79  0.72–0.86  +0.79 since base
Boats & wrecks <1880–1911>  failed  accuracy  0.02  0.52     –   0.52  0.41–0.63  +0.50, clear rise
                                    voice     0.00  0.76     –   0.76  0.69–0.83  +0.76 since base
Letters from the mainland   passed  accuracy  0.02  0.90     –   0.90  0.79–1.00  +0.88, clear rise
                                    voice     0.00  0.84     –   0.84  0.77–0.91  +0.84 since base
mean: 5 of 6 topics passed          accuracy  0.02  0.85     –   0.85
                                    voice     0.00  0.71     –   0.79"""


def test_the_topic_table_of_a_terminal() -> None:
    assert plain(topic_table(example())) == TABLE


def test_the_full_table_has_the_markers_and_what_a_topic_began_with() -> None:
    rows = full_topic_table(example()).rows
    markers = ("", "", "markers", "0.00", "0.76", "0.81", "–", "0.81", "0.72–0.90")
    assert (*markers, "+0.07, within noise") in rows
    assert len(rows) == 6 * 3 + 3


def test_a_voice_by_markers_is_named_so_and_has_no_second_line() -> None:
    rows = full_topic_table(without_voice()).rows
    assert len(rows) == 6 * 2 + 2
    assert rows[1][2] == "voice (by markers)"


def test_a_mean_over_fewer_topics_is_not_shown() -> None:
    result = example()
    assert summary.mean(result, "sft", "accuracy") is not None
    assert summary.mean(result, "dpo", "accuracy") is None  # two of six topics had DPO


def test_means_of_a_run_in_progress_are_over_the_topics_that_ended() -> None:
    result = example()
    started = result.topics[1].model_copy(
        update={"scores": {"base": result.topics[1].scores["base"]}}
    )
    partial = result.model_copy(update={"topics": (result.topics[0], started)})
    assert summary.mean(partial, "final", "accuracy") == 0.94
    assert summary.mean(partial, "base", "accuracy") == 0.02


def test_right_and_in_voice_is_weighed_by_questions() -> None:
    result = example()
    one, two = result.topics[:2]
    scores = {"final": one.scores["final"].model_copy(update={"voiced": 0.5, "questions": 30})}
    other = {"final": two.scores["final"].model_copy(update={"voiced": 1.0, "questions": 10})}
    topics = (one.model_copy(update={"scores": scores}), two.model_copy(update={"scores": other}))
    got = summary.right_and_voiced(result.model_copy(update={"topics": topics}))
    assert got == (0.5 * 30 + 1.0 * 10) / 40
    assert summary.right_and_voiced(begun()) is None


def test_changes_are_counted_only_where_they_are_clear() -> None:
    result = example()
    assert tally(result, "accuracy") == "clear rise in 6 of 6 topics"
    assert tally(result, "markers") == "clear rise in 4 of 6 topics"
    sunk = Difference(value=-0.4, low=-0.6, high=-0.2, p=0.001, clusters=12, unseen=0.2)
    fallen = result.topics[0].model_copy(update={"changes": {"accuracy": sunk}})
    counted = tally(result.model_copy(update={"topics": (fallen, *result.topics[1:])}), "accuracy")
    assert counted == "clear rise in 5 of 6 topics, clear fall in 1"
    assert tally(begun(), "accuracy") == ""


def test_a_calibrated_voice_is_no_finding_of_its_topic() -> None:
    """It is one figure for the run: six topics cannot each have raised it."""
    assert tally(example(), "voice") == ""
    one = shift(example().topics[0], "voice")
    assert one is not None and (one.kind, one.told) == ("since", "+0.78 since base")
    # Markers are the topic's own, and so is a voice that goes by them.
    assert tally(without_voice(), "voice") == "clear rise in 6 of 6 topics"


def test_what_was_dropped_is_said_by_topic_or_that_nothing_was() -> None:
    result = example()
    assert dropped(result) == [NO_ROW_DROPPED]
    data = result.topics[0].data
    assert data is not None
    gone = data.model_copy(update={"dropped": ("1 pair: both answers are equal",)})
    topics = (result.topics[0].model_copy(update={"data": gone}), *result.topics[1:])
    lines = dropped(result.model_copy(update={"topics": topics}))
    assert lines == ["The lamp and its oil: 1 pair: both answers are equal"]
    assert "nothing is known" in dropped(begun())[0]


def test_the_data_of_a_topic_in_figures() -> None:
    rows = {line[0]: line[1:] for line in data_table(example()).rows}
    first = ("28", "4", "0", "0", "0", "12, of 10 questions", "0\u00a0%", "0\u00a0%")
    assert rows["The lamp and its oil"] == first
    assert rows["Tides of the sound"][4] == "16 (1 cut)"
    assert data_table(begun()).rows == (("One", *("–",) * 8),)


def test_broken_answers_before_and_after() -> None:
    rows = {line[0]: line[1:] for line in broken_table(example()).rows}
    tides = ("0.031", "0.0004", "0.82", "0.0004", "42\u00a0%", "0\u00a0%", "92\u00a0%", "0\u00a0%")
    assert rows["Tides of the sound"] == (*tides, "none")
    assert rows["Boats & wrecks <1880–1911>"][-1] == "short 25\u00a0%, repeats 8\u00a0%"


def test_a_curve_as_a_table_keeps_its_ends() -> None:
    rows = curve_table(example().topics[1]).rows
    sft = [line for line in rows if line[0] == "SFT"]
    assert len(sft) == CURVE_ROWS and sft[0][1] == "1" and sft[-1][1] == "96"
    dpo = [line for line in rows if line[0] == "DPO"]
    assert dpo[-1][1] == "24" and dpo[-1][3] == figure(2.4 * (1 - math.exp(-24 / 9)) - 0.02)


def test_wide_characters_keep_their_columns() -> None:
    text = plain(Table(("a", "b"), (("灯台", "1"), ("é", "22")), frozenset({1})))
    assert text == "a      b\n────  ──\n灯台   1\né     22"


def test_markdown_cells_are_escaped() -> None:
    text = markdown(Table(("a",), (("x|y\nz",),)))
    assert text == "| a |\n|---|\n| x\\|y<br>z |"


def test_the_report_as_markdown_holds_everything() -> None:
    text = document(example())
    for part in (
        "# The Lightkeeper of Sule Sound",
        "## Topic by topic",
        "## The voice",
        "| impostor: Mags Orrell | 0.06 | −0.05 to 0.17 | 0\u00a0% | near 0 |",
        "not measurable: AUC 0.61 is under 0.75",
        "| lad | 41 | 12 | +4.6 |",
        "## How it trained",
        "## What was kept",
        "| 4 Tides of the sound, after DPO, undone |",
        "| forgetting | +0.07 | +0.11 | +0.42 |",
        "## Broken answers",
        "## Answers, worst first",
        "## Data",
        "0 dropped: an unusable row stops the run before training.",
        "## Reproduction",
        "## Memory and time",
        "| after | memory | at most | device | at most there |",
        "612.0 MiB | 655.0 MiB | – | – |",
        "| `sft.learning_rate` | `0.002` | --set sft.learning_rate=2e-3 |",
        "2 min 31 s in all",
    ):
        assert part in text
    assert "loops to the limit; repeats; compressible; a loop of 5 words" in text
    assert "| \\<i> |" in text  # no tag of a model's is one
    assert "None" not in text and "nan" not in text


@pytest.mark.parametrize("result", [begun(), without_voice(), without_voice(unmeasurable())])
def test_texts_of_a_run_without_a_voice_scale_say_so(result: Result) -> None:
    for text in (document(result), card(result)):
        assert "Gates go by the markers." in text
        assert "None" not in text and "nan" not in text


def test_the_card_says_what_is_not_known() -> None:
    text = card(example())
    assert "Licence of the base: unknown" in text
    assert "base_model:" not in text  # a folder's name is nobody's hub id
    assert "The voice family `lengths` could not be measured (AUC 0.61" in text
    assert "These topics did not pass: Boats & wrecks \\<1880–1911>." in text
    assert "The smallest quiz has 4 questions" in text


def test_the_card_has_the_voice_with_its_interval_and_controls() -> None:
    text = card(example())
    assert "The final model stands at 0.84 (95 % interval 0.77–0.91; 0.88 not clipped)." in text
    assert "| the base, shown 4 of the author's rows | 0.22 | 0.11–0.33 |" in text
    assert "75\u00a0% of the answers at each topic's end are right and in voice." in text
    assert "- Training beats examples in the prompt alone: 0.84 (0.77–0.91) against 0.22" in text
    assert "likeliest per character, and their share right is corrected for guessing" in text
    bare = card(without_voice(unmeasurable()))
    assert "The voice could not be calibrated: 12 held-out answers" in bare
    assert "What is said of the voice rests on the markers alone." in bare


def test_what_is_left_at_the_end_is_said_beside_what_was_learned() -> None:
    result = example()
    # Fog signals fell from 0.91 to 0.91 - 4 x 0.09; the others are as they were learned.
    learned = sum(accuracy for accuracy, _ in FINAL) / 6
    found = ending(result)
    assert found is not None and found.topics == 6
    assert found.learned == pytest.approx(learned)
    assert found.end == pytest.approx(learned - 4 * 0.09 / 6)
    said = told(result)
    assert "On the questions that are asked again" in said
    assert "at accuracy 0.79 at the end of the run; as each was learned it was 0.85" in said
    assert "0.66 is left of 0.72" in said
    assert said in document(result) and f"- {said}" in card(result)
    assert ending(begun()) is None and told(begun()) == ""


def test_the_card_names_a_hub_model() -> None:
    result = example()
    model = result.model.model_copy(update={"path": "owner/name", "revision": "abc"})
    text = card(result.model_copy(update={"model": model}))
    assert "\nbase_model: owner/name\n" in text and "`owner/name@abc`" in text


def test_figures_in_words() -> None:
    assert [seconds(value) for value in (0.44, 48, 185, 7800)] == [
        "0.4 s",
        "48 s",
        "3 min 05 s",
        "2 h 10 min",
    ]
    assert [size(value) for value in (100, 2048, 5 << 20, 3 << 30)] == [
        "100 B",
        "2 KiB",
        "5.0 MiB",
        "3.0 GiB",
    ]
    assert [parameters(value) for value in (900, 3_412_480, 7_600_000_000)] == [
        "900",
        "3.4 M",
        "7.6 B",
    ]
    assert change(None, None) == "–" and change(0.021, 0.9) == "0.02 → 0.90"
    assert several(1, "topic") == "1 topic" and several(2, "entry", "entries") == "2 entries"
    assert figure(0.000123456) == "0.000123"


def test_shares_and_differences_in_words() -> None:
    assert [words.share(x) for x in (0.5, -0.001, -0.31, None)] == ["0.50", "0.00", "−0.31", "–"]
    assert [words.signed(x) for x in (0.771, -0.12, -0.001, 0.0)] == [
        "+0.77",
        "−0.12",
        "0.00",
        "0.00",
    ]
    assert words.signed(-2.04, 1) == "−2.0" and words.share(math.nan) == "–"
    assert words.span(0.54, 0.92) == "0.54–0.92" and words.span(-0.1, 0.9) == "−0.10 to 0.90"
    assert words.signed_span(-0.13, 0.27) == "−0.13 to +0.27"
    found = [words.percent(x) for x in (0.0, 0.004, 0.08, 0.996, None)]
    assert found == ["0\u00a0%", "0.4\u00a0%", "8\u00a0%", "100\u00a0%", "–"]
    small = [words.probability(x) for x in (0.82, 0.00042, 1e-9, 0.0, None)]
    assert small == ["0.82", "0.00042", "<\u00a00.0001", "0", "–"]


def test_verdicts_are_typeset() -> None:
    said = words.sentence("accuracy 0.83 -> 0.06 (-0.77, 95 % interval -0.92 to -0.58)")
    assert said == "Accuracy 0.83 → 0.06 (−0.77, 95 % interval −0.92 to −0.58)."
    assert words.sentence("Kept.") == "Kept." and words.sentence("") == ""
    assert words.spoken("passed: 1. no DPO: 2.5 is") == "Passed: 1. No DPO: 2.5 is"
    assert words.typeset("end-of-text") == "end-of-text"

"""Tables, the Markdown report and the model card."""

from __future__ import annotations

import itertools

from mindprint.report import summary
from mindprint.report.card import card
from mindprint.report.markdown import document
from mindprint.report.text import Table, kept_table, markdown, plain, topic_table
from mindprint.report.words import change, figure, parameters, seconds, several, size
from tests.unit.report.example import example

TABLE = """\
topic                       status            base  before  after SFT  after DPO  final
──────────────────────────  ──────  ────────  ────  ──────  ─────────  ─────────  ─────
The lamp and its oil        passed  accuracy  0.02    0.04       0.94          –   0.94
                                    voice     0.01    0.10       0.96          –   0.96
Fog signals                 passed  accuracy  0.02    0.05       0.91       0.90   0.91
                                    voice     0.01    0.20       0.31       0.88   0.88
The keeper's day            passed  accuracy  0.02    0.06       0.97          –   0.97
                                    voice     0.01    0.30       1.00          –   1.00
Tides of the sound          passed  accuracy  0.02    0.07       0.83       0.82   0.83
                                    voice     0.01    0.40       0.31       0.79   0.79
Boats & wrecks <1880–1911>  failed  accuracy  0.02    0.08       0.52          –   0.52
                                    voice     0.01    0.50       0.81          –   0.81
Letters from the mainland   passed  accuracy  0.02    0.09       0.90          –   0.90
                                    voice     0.01    0.60       0.93          –   0.93
mean: 5 of 6 topics passed          accuracy  0.02    0.07       0.85          –   0.85
                                    voice     0.01    0.35       0.72          –   0.89"""

KEPT = """\
topic                         as learned  after 2  after 3  after 4  after 5  after 6
────────────────────────────  ──────────  ───────  ───────  ───────  ───────  ───────
1 The lamp and its oil              0.94     0.94     0.94     0.94     0.94     0.94
2 Fog signals                       0.91        –     0.82     0.73     0.64     0.55
3 The keeper's day                  0.97        –        –     0.97     0.97     0.97
4 Tides of the sound                0.83        –        –        –     0.83     0.83
5 Boats & wrecks <1880–1911>        0.52        –        –        –        –     0.52
What the base knew                  0.70     0.70     0.69     0.68     0.67     0.66"""


def test_the_topic_table() -> None:
    assert plain(topic_table(example())) == TABLE


def test_earlier_topics_afterwards() -> None:
    assert plain(kept_table(example(), "accuracy")) == KEPT
    assert "What the base knew" not in plain(kept_table(example(), "voice"))


def test_a_mean_over_fewer_topics_is_not_shown() -> None:
    result = example()
    assert summary.mean(result, "sft", "accuracy") is not None
    assert summary.mean(result, "dpo", "accuracy") is None  # two of six topics had DPO


def test_means_of_a_run_in_progress_are_over_the_topics_that_ended() -> None:
    result = example()
    begun = result.topics[1].model_copy(
        update={"scores": {"base": result.topics[1].scores["base"]}}
    )
    partial = result.model_copy(update={"topics": (result.topics[0], begun)})
    assert summary.mean(partial, "final", "accuracy") == 0.94
    assert summary.mean(partial, "base", "accuracy") == 0.02


def test_wide_characters_keep_their_columns() -> None:
    text = plain(Table(("a", "b"), (("灯台", "1"), ("é", "22")), frozenset({1})))
    assert text == "a      b\n────  ──\n灯台   1\né     22"


def test_markdown_cells_are_escaped() -> None:
    text = markdown(Table(("a",), (("x|y\nz",),)))
    assert text == "| a |\n|---|\n| x\\|y<br>z |"


def test_weakest_answers_come_first_at_most_two_of_a_topic() -> None:
    weakest = summary.weakest(example(), limit=6)
    assert [shown.topic.title for shown in weakest[:2]] == ["Boats & wrecks <1880–1911>"] * 2
    assert all(a.worth <= b.worth for a, b in itertools.pairwise(weakest))


def test_answers_are_shown_at_base_sft_and_the_end() -> None:
    result = example()
    assert summary.shown_states(result.topics[0].questions[0]) == ("base", "sft")
    assert summary.shown_states(result.topics[1].questions[0]) == ("base", "sft", "dpo")


def test_the_report_as_markdown_holds_everything() -> None:
    text = document(example())
    for part in (
        "# The Lightkeeper of Sule Sound",
        "## Topic by topic",
        "## How it trained",
        "## What was kept",
        "## Answers, weakest first",
        "## Data",
        "## Reproduction",
        "## Memory and time",
        "DPO",
        "| `sft.learning_rate` | `0.002` | --set sft.learning_rate=2e-3 |",
        "2 min 31 s in all",
    ):
        assert part in text
    assert "ran to the limit; loops; a loop of 5 words" in text


def test_the_card_says_what_is_not_known() -> None:
    text = card(example())
    assert "Licence of the base: unknown" in text
    assert "base_model:" not in text  # a folder's name is nobody's hub id
    assert "These topics did not pass: Boats & wrecks <1880–1911>." in text
    assert "The smallest quiz has 4 questions" in text


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

"""Tables as plain text and as Markdown, and the tables that a terminal and a page share."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass

from mindprint.report import inline
from mindprint.report.model import Result, TopicRecord
from mindprint.report.scores import StageName
from mindprint.report.shifts import shift
from mindprint.report.summary import (
    STATES,
    headline,
    interval,
    mean,
    mean_measures,
    measure_name,
    measures,
    value,
)
from mindprint.report.words import NONE, share, span
from mindprint.visible import visible_line

SHORT: dict[StageName, str] = {
    "base": "base",
    "before": "before",
    "sft": "SFT",
    "dpo": "DPO",
    "final": "final",
}


@dataclass(frozen=True)
class Table:
    """Cells as text. `right`: the columns set flush right."""

    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    right: frozenset[int] = frozenset()


def plain(table: Table, gap: str = "  ") -> str:
    """Columns aligned by spaces, a rule under the head."""
    lines = [tuple(map(visible_line, line)) for line in (table.head, *table.rows)]
    widths = [max(_width(line[at]) for line in lines) for at in range(len(table.head))]
    rule = gap.join("─" * width for width in widths)
    text = [_line(line, widths, table.right, gap) for line in lines]
    return "\n".join([text[0], rule, *text[1:]])


def markdown(table: Table) -> str:
    """A pipe table; what a cell holds is text (`inline.cell`)."""
    rule = ("---:" if at in table.right else "---" for at in range(len(table.head)))
    lines = [_pipes(table.head), "|" + "|".join(rule) + "|", *map(_pipes, table.rows)]
    return "\n".join(lines)


def topic_table(result: Result) -> Table:
    """Accuracy and voice per topic, as a terminal shows them: after each stage, with the interval
    of the final figure and the change from the base."""
    return _topic_table(result, tuple(state for state in STATES if state != "before"), False)


def full_topic_table(result: Result) -> Table:
    """The same with the markers and with each topic as it began."""
    return _topic_table(result, STATES, True)


def _topic_table(result: Result, states: tuple[StageName, ...], markers: bool) -> Table:
    rows = [row for topic in result.topics for row in _topic_rows(topic, states, markers)]
    for measure in mean_measures(result)[: 3 if markers else 2]:
        values = tuple(share(mean(result, state, measure)) for state in states)
        first = (f"mean: {headline(result)}", "") if measure == "accuracy" else ("", "")
        rows.append((*first, measure, *values, "", ""))
    head = ("topic", "status", "", *(SHORT[state] for state in states), "95 %", "change")
    return Table(head, tuple(rows), frozenset(range(3, 4 + len(states))))


def _topic_rows(
    topic: TopicRecord, states: tuple[StageName, ...], markers: bool
) -> list[tuple[str, ...]]:
    rows = []
    for measure in measures(topic)[: 3 if markers else 2]:
        first = (topic.title, topic.status) if measure == "accuracy" else ("", "")
        values = (share(value(topic.scores.get(state), measure)) for state in states)
        bounds = interval(topic.scores.get("final"), measure)
        change = shift(topic, measure)
        told = change.told if change else NONE
        ends = span(*bounds) if bounds else NONE
        rows.append((*first, measure_name(topic, measure), *values, ends, told))
    return rows


def one_line(text: str) -> str:
    return " ".join(text.split())


def _line(cells: tuple[str, ...], widths: list[int], right: frozenset[int], gap: str) -> str:
    padded = []
    for at, (cell, width) in enumerate(zip(cells, widths, strict=True)):
        room = " " * (width - _width(cell))
        padded.append(room + cell if at in right else cell + room)
    return gap.join(padded).rstrip()


def _width(text: str) -> int:
    """Columns on a terminal: wide characters take two, combining ones none."""
    wide = sum(unicodedata.east_asian_width(c) in "WF" for c in text)
    return len(text) + wide - sum(unicodedata.combining(c) > 0 for c in text)


def _pipes(cells: tuple[str, ...]) -> str:
    return "| " + " | ".join(inline.cell(one) or " " for one in cells) + " |"

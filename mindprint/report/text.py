"""Tables as plain text and as Markdown, and the tables that a terminal and a page share."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass

from mindprint.report.model import Result, TopicRecord
from mindprint.report.summary import MEASURES, STATES, Measure, headline, kept, mean, places, value
from mindprint.report.words import LABELS, share


@dataclass(frozen=True)
class Table:
    """Cells as text. `right`: the columns set flush right."""

    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    right: frozenset[int] = frozenset()


def plain(table: Table, gap: str = "  ") -> str:
    """Columns aligned by spaces, a rule under the head."""
    lines = [table.head, *table.rows]
    widths = [max(_width(line[at]) for line in lines) for at in range(len(table.head))]
    rule = gap.join("─" * width for width in widths)
    text = [_line(line, widths, table.right, gap) for line in lines]
    return "\n".join([text[0], rule, *text[1:]])


def markdown(table: Table) -> str:
    """A pipe table; pipes and line breaks inside a cell are escaped."""
    rule = ("---:" if at in table.right else "---" for at in range(len(table.head)))
    lines = [_pipes(table.head), "|" + "|".join(rule) + "|", *map(_pipes, table.rows)]
    return "\n".join(lines)


def topic_table(result: Result) -> Table:
    """One line per topic and measure, in the order they were taught, and the means."""
    rows = [row for topic in result.topics for row in _topic_rows(topic)]
    for measure in MEASURES:
        values = tuple(share(mean(result, state, measure)) for state in STATES)
        first = (f"mean: {headline(result)}", "") if measure == "accuracy" else ("", "")
        rows.append((*first, measure, *values))
    head = ("topic", "status", "", *(LABELS[state] for state in STATES))
    return Table(head, tuple(rows), frozenset(range(3, 3 + len(STATES))))


def _topic_rows(topic: TopicRecord) -> list[tuple[str, ...]]:
    names = {"accuracy": (topic.title, topic.status), "voice": ("", "")}
    return [
        (
            *names[measure],
            measure,
            *(share(value(topic.scores.get(state), measure)) for state in STATES),
        )
        for measure in MEASURES
    ]


def kept_table(result: Result, measure: Measure) -> Table:
    """Earlier topics asked again: a column for each topic after which they were."""
    order = places(result)
    after = tuple(f"after {order.get(r.after, r.after)}" for r in result.forgetting)
    rows = tuple(
        (
            row.title,
            share(value(row.learned, measure)),
            *(share(value(score, measure)) for score in row.later),
        )
        for row in kept(result)
        if measure == "accuracy" or row.id != "retention"  # the base has no author's voice to lose
    )
    width = len(after) + 2
    return Table(("topic", "as learned", *after), rows, frozenset(range(1, width)))


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
    escaped = (cell.replace("|", "\\|").replace("\n", "<br>") or " " for cell in cells)
    return "| " + " | ".join(escaped) + " |"

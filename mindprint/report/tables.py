"""The tables that the page, the Markdown report and the card share, so that none says less."""

from __future__ import annotations

from mindprint.report.kept import Transfer
from mindprint.report.model import DataRecord, Result, StageRecord, TopicRecord
from mindprint.report.moments import Cell, Matrix, columns, moments
from mindprint.report.scores import Score, StageName
from mindprint.report.summary import stage_label
from mindprint.report.text import Table
from mindprint.report.words import (
    LABELS,
    NONE,
    figure,
    percent,
    probability,
    several,
    share,
    signed,
    size,
    whole,
)

BROKEN_STATES: tuple[StageName, ...] = ("base", "sft", "dpo", "final")
CURVE_ROWS = 12
NO_ROW_DROPPED = "0 dropped: an unusable row stops the run before training."
TRANSFER_WORDS = {
    "average": "mean over the topics at the end of the run",
    "backward": "what later topics did to earlier ones: from when each was learned to the end; "
    "below 0, and not within noise, something was lost",
    "forward": "what earlier topics lent to later ones: as each began, over the base",
    "forgetting": "how far topics fell from their best to the end; at 0 nothing was lost",
}
TRANSFER_NAMES = {
    "average": "average",
    "backward": "backward transfer",
    "forward": "forward transfer",
    "forgetting": "forgetting",
}


def heat_table(result: Result, measure: Matrix) -> Table:
    """Rows: moments; columns: topics and the retention set. `*`: the topic just learned, as it
    was left; brackets: not taught yet."""
    asked = columns(result, measure)
    rows = tuple(
        (
            f"{row.place} {row.title}, {row.label}" if row.title else row.label,
            *map(_cell, row.cells),
        )
        for row in moments(result, measure)
    )
    return Table(("", *(name for _, name in asked)), rows, frozenset(range(1, len(asked) + 1)))


def _cell(cell: Cell) -> str:
    text = share(cell.value)
    if cell.ahead:
        return f"({text})"
    return f"{text}*" if cell.own else text


def transfer_table(result: Result) -> Table:
    """Average, backward and forward transfer and forgetting, each with what it means."""
    found = list(result.transfer.items())
    rows = tuple(
        (
            TRANSFER_NAMES[name],
            *(_transferred(moved, name) for _, moved in found),
            words,
        )
        for name, words in TRANSFER_WORDS.items()
    )
    head = ("figure", *(_matrix_name(key) for key, _ in found), "in words")
    # Not set to the right: a figure with its interval may take two lines.
    return Table(head, rows, frozenset())


def _transferred(moved: Transfer, name: str) -> str:
    """`−0.73 (95 % interval −0.80 to −0.62)`; a difference that may be none is said to be."""
    value, around = getattr(moved, name), getattr(moved, f"{name}_interval")
    written = share if name == "average" else signed
    if value is None or around is None:
        return written(value)
    low, high = around
    # As it is written: an end that reads as 0 must not stand beside a gain or a loss.
    holds = round(low, 2) <= 0 <= round(high, 2)
    noise = ", within noise" if name != "average" and holds else ""
    return f"{written(value)} (95\u00a0% interval {written(low)} to {written(high)}{noise})"


def _matrix_name(key: str) -> str:
    return "broken" if key == "degenerate" else key


def broken_table(result: Result) -> Table:
    """The probability that an answer ends before it begins, and answers with a flag."""
    rows = tuple(_broken(topic) for topic in result.topics if topic.scores)
    labels = tuple(LABELS[state] for state in BROKEN_STATES)
    head = (
        "topic",
        *(f"ends first, {label}" for label in labels),
        *(f"broken, {label}" for label in labels),
        "soft flags, final",
    )
    return Table(head, rows, frozenset(range(1, 1 + 2 * len(labels))))


def _broken(topic: TopicRecord) -> tuple[str, ...]:
    scores = topic.scores
    hard = tuple(
        percent(scores[state].degenerate) if state in scores else NONE for state in BROKEN_STATES
    )
    ends = tuple(
        probability(scores[state].first_stop if state in scores else None)
        for state in BROKEN_STATES
    )
    return (topic.title, *ends, *hard, soft_flags(scores.get("final")))


def soft_flags(score: Score | None) -> str:
    """`short 8 %, repeats 4 %`, the most frequent first; `none`, or a dash without a score."""
    if score is None:
        return NONE
    found = sorted(((share, flag) for flag, share in score.soft.items() if share > 0), reverse=True)
    return ", ".join(f"{flag} {percent(part)}" for part, flag in found) or "none"


def data_table(result: Result) -> Table:
    head = (
        "topic",
        "rows",
        "held out",
        "cut",
        "duplicates",
        "pairs",
        "quiz",
        "questions seen",
        "references seen",
    )
    rows = tuple((topic.title, *_data(topic.data)) for topic in result.topics)
    return Table(head, rows, frozenset(range(1, len(head))))


def _data(data: DataRecord | None) -> tuple[str, ...]:
    if data is None:
        return (NONE,) * 8
    cut = f" ({whole(data.pairs_cut)} cut)" if data.pairs_cut else ""
    return (
        whole(data.rows),
        whole(data.held_out),
        whole(data.cut),
        whole(data.duplicates),
        whole(data.pairs) + cut,
        _asked(data),
        percent(data.questions_seen),
        percent(data.references_seen),
    )


def _asked(data: DataRecord) -> str:
    """Phrasings of one question are one cluster: `13`, or `13, of 12 questions`."""
    if data.quiz == data.clusters:
        return whole(data.quiz)
    return f"{whole(data.quiz)}, of {several(data.clusters, 'question')}"


def dropped(result: Result) -> list[str]:
    """What was left out of the data and why, a line each; one line where it was nothing."""
    lines = [
        f"{topic.title}: {reason}"
        for topic in result.topics
        if topic.data is not None
        for reason in topic.data.dropped
    ]
    if any(topic.data is not None for topic in result.topics):
        return lines or [NO_ROW_DROPPED]
    return ["No topic has been taught yet, so nothing is known of its rows."]


def curve_table(topic: TopicRecord) -> Table:
    """At most CURVE_ROWS steps of each stage, first and last among them."""
    rows = tuple(row for stage in topic.stages for row in _curve(stage))
    return Table(("stage", "step", "loss", "margin"), rows, frozenset({1, 2, 3}))


def _curve(stage: StageRecord) -> list[tuple[str, ...]]:
    name = stage_label(stage) + ("" if stage.accepted else ", undone")
    margins = dict(stage.margins)
    points = list(stage.curve)
    if len(points) > CURVE_ROWS:
        gap = (len(points) - 1) / (CURVE_ROWS - 1)
        points = [points[round(at * gap)] for at in range(CURVE_ROWS)]
    return [
        (name, whole(step), figure(loss), figure(margins[step]) if step in margins else NONE)
        for step, loss in points
    ]


def memory_table(result: Result) -> Table:
    """Bytes in use as each topic's last stage ended, and the most so far; a device's figures where
    one keeps them."""
    titles = {topic.id: topic.title for topic in result.topics}
    last = {sample.stage.rpartition(" ")[0]: sample for sample in result.memory}
    rows = tuple(
        (
            titles.get(topic, topic),
            *map(_bytes, (one.rss, one.peak_rss, one.device, one.device_peak)),
        )
        for topic, one in last.items()
    )
    head = ("after", "memory", "at most", "device", "at most there")
    return Table(head, rows, frozenset(range(1, len(head))))


def _bytes(count: int) -> str:
    return size(count) if count else NONE

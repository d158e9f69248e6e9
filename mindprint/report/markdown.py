"""The report as Markdown: what the page shows, for a terminal, a review or a repository."""

from __future__ import annotations

from collections.abc import Iterator

from mindprint.report import bends, endings, summary, tables, telling
from mindprint.report.inline import block, code, inline, paragraph
from mindprint.report.markdown_voice import voice
from mindprint.report.model import Result
from mindprint.report.moments import Matrix, columns
from mindprint.report.telling import Shown
from mindprint.report.text import Table, full_topic_table, markdown, one_line
from mindprint.report.words import (
    NONE,
    figure,
    seconds,
    sentence,
    share,
    size,
    spoken,
    typeset,
    whole,
)

HEATS: dict[Matrix, str] = {
    "accuracy": "Accuracy",
    "markers": "Markers",
    "degenerate": "Broken answers",
}


def document(result: Result) -> str:
    """The whole report as text."""
    parts = [
        f"# {inline(result.title)}",
        f"{paragraph(result.author)}, taught to {code(result.model.path)} with mindprint "
        f"{inline(result.mindprint)}.",
        f"**{inline(spoken(result.verdict))}**",
        "## Topic by topic",
        paragraph(summary.voice_basis(result)),
        markdown(full_topic_table(result)),
        *(
            f"- **{inline(t.title)}**: {inline(sentence(t.verdict))}"
            for t in result.topics
            if t.verdict
        ),
        *voice(result),
        *_answers(result),
        *_kept(result),
        *_broken(result),
        *_training(result),
        *_splines(result),
        *_data(result),
        *_reproduction(result),
        *_cost(result),
    ]
    return "\n\n".join(parts).replace("\n\n- **", "\n- **") + "\n"


def stage_table(result: Result) -> Table:
    head = (
        "topic",
        "stage",
        "steps",
        "loss",
        "rows",
        "cut",
        "tokens",
        "tokens/s",
        "time",
        "verdict",
    )
    rows = tuple(
        (
            topic.title,
            summary.stage_label(stage) + ("" if stage.accepted else ", undone"),
            whole(stage.steps),
            f"{figure(stage.loss_first)} → {figure(stage.loss_last)}",
            whole(stage.rows),
            whole(stage.rows_cut),
            whole(stage.tokens),
            whole(int(stage.tokens_per_second)),
            seconds(stage.seconds),
            " ".join(filter(None, (sentence(stage.verdict), _stopped(stage.stopped)))),
        )
        for topic, stage in summary.stages(result)
    )
    return Table(head, rows, frozenset({2, 4, 5, 6, 7}))


def _stopped(why: str) -> str:
    return f"Stopped early: {typeset(why).rstrip('.')}." if why else ""


def _training(result: Result) -> Iterator[str]:
    if any(topic.stages for topic in result.topics):
        yield "## How it trained"
        yield markdown(stage_table(result))


def _splines(result: Result) -> Iterator[str]:
    table = bends.group_table(result)
    if table.rows:
        yield "## How the splines bent"
        yield bends.BASIS
        yield markdown(table)
        if found := bends.told(result):
            yield "\n".join(f"- {paragraph(line)}" for line in found)


def _kept(result: Result) -> Iterator[str]:
    yield "## What was kept"
    if not result.forgetting:
        yield "Earlier topics were not asked again."
        return
    yield (
        "The same questions of every topic, asked again at each moment. `*`: a topic as it was "
        "left when its own turn ended; in brackets: before it was taught."
    )
    if said := endings.told(result):
        yield paragraph(said)
    for matrix, name in HEATS.items():
        if columns(result, matrix):
            yield f"{name}:"
            yield markdown(tables.heat_table(result, matrix))
    if result.transfer:
        yield markdown(tables.transfer_table(result))


def _broken(result: Result) -> Iterator[str]:
    table = tables.broken_table(result)
    if table.rows:
        yield "## Broken answers"
        yield (
            "How likely an answer is to end before it begins, the share of answers struck for a "
            "fault, and signs that strike nothing."
        )
        yield markdown(table)


def _answers(result: Result) -> Iterator[str]:
    first = telling.telling(result)
    if first:
        yield "## Answers, worst first"
        for shown in first:
            yield from _answer(shown)


def _answer(shown: Shown) -> Iterator[str]:
    question = shown.question
    yield f"### {inline(question.question)}"
    yield f"{paragraph(shown.topic.title)}. The author: {inline(question.reference) or NONE}"
    rows = []
    for state in telling.shown_states(question):
        answer = question.answers[state]
        said = one_line(answer.text) or "(no text)"
        remarks = "; ".join((*answer.flags, *answer.soft, *answer.reasons))
        figures = (answer.accuracy, answer.voice, answer.f1, answer.nll)
        rows.append((summary.state_label(shown.topic, state), *map(share, figures), said, remarks))
    head = ("state", "accuracy", "markers", "F1", "loss of the reference", "answer", "remarks")
    yield markdown(Table(head, tuple(rows), frozenset({1, 2, 3, 4})))


def _data(result: Result) -> Iterator[str]:
    yield "## Data"
    yield markdown(tables.data_table(result))
    yield "\n".join(f"- {paragraph(line)}" for line in tables.dropped(result))
    if result.hashes:
        rows = tuple(
            (code(file), result.formats.get(file, ""), code(digest[:16]))
            for file, digest in result.hashes.items()
        )
        yield markdown(Table(("file", "format", "SHA-256"), rows))


def _reproduction(result: Result) -> Iterator[str]:
    yield "## Reproduction"
    if result.command:
        yield block(result.command)
    choices = tuple((c.key, code(c.name), c.because) for c in result.choices)
    yield markdown(Table(("chosen", "value", "because"), choices))
    settings = tuple(
        (code(key), code(str(value)) if value is not None else NONE, origin)
        for key, (value, origin) in result.config.items()
    )
    yield markdown(Table(("setting", "value", "from"), settings))
    versions = ", ".join(
        f"{inline(name)} {inline(version)}" for name, version in result.versions.items()
    )
    yield f"Model hash {code(result.model.id[:16])}." + (f" {versions}." if versions else "")
    if result.notes:
        yield "\n".join(f"- {paragraph(note)}" for note in result.notes)


def _cost(result: Result) -> Iterator[str]:
    spent = result.timings
    peak = max((sample.peak_rss for sample in result.memory), default=0)
    device = max((sample.device_peak for sample in result.memory), default=0)
    yield "## Memory and time"
    yield (
        f"{seconds(spent.total)} in all: {seconds(spent.opening)} opening the model, "
        f"{seconds(spent.training)} training, {seconds(spent.evaluation)} evaluating."
        + (f" At most {size(peak)} of memory" if peak else "")
        + (f" and {size(device)} on the device." if device else "." if peak else "")
    )
    if result.expected_memory:
        yield f"The plan expected at most {summary.expected_memory(result)}."
    if result.memory:
        yield markdown(tables.memory_table(result))

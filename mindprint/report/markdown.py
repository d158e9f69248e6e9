"""The report as Markdown: what the page shows, for a terminal, a review or a repository."""

from __future__ import annotations

from collections.abc import Iterator

from mindprint.report import summary
from mindprint.report.model import Result
from mindprint.report.summary import MEASURES, Shown
from mindprint.report.text import Table, kept_table, markdown, topic_table
from mindprint.report.words import LABELS, figure, seconds, share, size, whole


def document(result: Result) -> str:
    """The whole report as text."""
    parts = [
        f"# {result.title}",
        f"{result.author}, taught to `{result.model.path}` with mindprint {result.mindprint}.",
        f"**{result.verdict}**",
        "## Topic by topic",
        markdown(topic_table(result)),
        *(f"- **{topic.title}**: {topic.verdict}" for topic in result.topics if topic.verdict),
        *_training(result),
        *_kept(result),
        *_answers(result),
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
            summary.stage_label(stage),
            whole(stage.steps),
            f"{figure(stage.loss_first)} → {figure(stage.loss_last)}",
            whole(stage.rows),
            whole(stage.rows_cut),
            whole(stage.tokens),
            whole(int(stage.tokens_per_second)),
            seconds(stage.seconds),
            stage.verdict + (f" Stopped early: {stage.stopped}." if stage.stopped else ""),
        )
        for topic, stage in summary.stages(result)
    )
    return Table(head, rows, frozenset({2, 4, 5, 6, 7}))


def _training(result: Result) -> Iterator[str]:
    if any(topic.stages for topic in result.topics):
        yield "## How it trained"
        yield markdown(stage_table(result))


def _kept(result: Result) -> Iterator[str]:
    if result.forgetting:
        yield "## What was kept"
        yield "Earlier topics, asked again after each later one."
        for measure in MEASURES:
            yield f"{measure.capitalize()}:"
            yield markdown(kept_table(result, measure))


def _answers(result: Result) -> Iterator[str]:
    weakest = summary.weakest(result)
    if weakest:
        yield "## Answers, weakest first"
        for shown in weakest:
            yield from _answer(shown)


def _answer(shown: Shown) -> Iterator[str]:
    question = shown.question
    yield f"### {_line(question.question)}"
    yield f"{shown.topic.title}. The author: {_line(question.reference)}"
    rows = []
    for state in summary.shown_states(question):
        answer = question.answers[state]
        said = _line(answer.text) or "(no text)"
        remarks = "; ".join((*answer.flags, *answer.reasons))
        rows.append((LABELS[state], share(answer.accuracy), share(answer.voice), said, remarks))
    head = ("state", "accuracy", "voice", "answer", "remarks")
    yield markdown(Table(head, tuple(rows), frozenset({1, 2})))


def _data(result: Result) -> Iterator[str]:
    if result.hashes:
        yield "## Data"
        rows = tuple(
            (f"`{file}`", result.formats.get(file, ""), f"`{digest[:16]}`")
            for file, digest in result.hashes.items()
        )
        yield markdown(Table(("file", "format", "SHA-256"), rows))


def _reproduction(result: Result) -> Iterator[str]:
    yield "## Reproduction"
    if result.command:
        yield f"```\n{result.command}\n```"
    choices = tuple((c.key, f"`{c.name}`", c.because) for c in result.choices)
    yield markdown(Table(("chosen", "value", "because"), choices))
    settings = tuple(
        (f"`{key}`", f"`{value}`", origin) for key, (value, origin) in result.config.items()
    )
    yield markdown(Table(("setting", "value", "from"), settings))
    versions = ", ".join(f"{name} {version}" for name, version in result.versions.items())
    yield f"Model hash `{result.model.id[:16]}`. {versions}."
    if result.notes:
        yield "\n".join(f"- {note}" for note in result.notes)


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


def _line(text: str) -> str:
    return " ".join(text.split())

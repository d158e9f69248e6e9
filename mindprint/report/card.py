"""The model card: what the adapters are, what they were measured to do, and where they stop."""

from __future__ import annotations

import re

from mindprint.report import summary
from mindprint.report.model import Result
from mindprint.report.text import Table, markdown, topic_table
from mindprint.report.words import parameters, several, share, whole

LICENCE = "unknown: mindprint was not told the licence of the base model"


def card(result: Result) -> str:
    """Markdown with the metadata block that the model hub reads."""
    parts = [
        _metadata(result),
        f"# {result.title}",
        f"LoRA adapters that teach `{_base(result)}` what {result.author} knows and how they say "
        f"it, trained topic by topic. {result.verdict}",
        "## What was measured",
        markdown(topic_table(result)),
        _measured(result),
        "## Base model",
        f"`{_base(result)}` ({result.model.family}, {parameters(result.model.parameters)} "
        f"parameters, hash `{result.model.id}`). Licence of the base: {LICENCE}. The base itself "
        "is not changed; without it the adapters do nothing.",
        "## Data",
        _data(result),
        "## Limits",
        "\n".join(f"- {limit}" for limit in _limits(result)),
    ]
    return "\n\n".join(parts) + "\n"


def _base(result: Result) -> str:
    model = result.model
    return f"{model.path}@{model.revision}" if model.revision else model.path


def _metadata(result: Result) -> str:
    lines = ["---", "library_name: peft"]
    if re.fullmatch(r"[\w-][\w.-]*/[\w.-]+", result.model.path):  # a hub id, not a folder
        lines.append(f"base_model: {result.model.path}")
    return "\n".join([*lines, "tags: [lora, mindprint]", "---"])


def _measured(result: Result) -> str:
    asked = sum(len(topic.questions) for topic in result.topics)
    gates = " and ".join(
        f"{measure} {share(summary.gate(result, measure))}" for measure in summary.MEASURES
    )
    return (
        f"{several(asked, 'quiz question')}, answered greedily. A topic passes with {gates}. "
        "Accuracy is the share of a question's key points that an answer holds, less the share of "
        "its forbidden claims; voice compares the author's marks with how many are expected."
    )


def _data(result: Result) -> str:
    rows = sum(stage.rows for _, stage in summary.stages(result) if stage.attempt == 0)
    files = tuple((f"`{name}`", f"`{digest}`") for name, digest in result.hashes.items())
    note = f" {result.curriculum_note}" if result.curriculum_note else ""
    table = markdown(Table(("file", "SHA-256"), files)) if files else ""
    return f"{whole(rows)} rows by {result.author}.{note}\n\n{table}".rstrip()


def _limits(result: Result) -> list[str]:
    limits = [
        "The scores hold for these quizzes and this decoding; they say nothing about other topics.",
        "The voice is imitated. An answer in it is not a statement by the author.",
    ]
    failed = [topic.title for topic in result.topics if topic.status == "failed"]
    if failed:
        limits.append("These topics did not pass: " + ", ".join(failed) + ".")
    fewest = min((len(t.questions) for t in result.topics if t.questions), default=0)
    if fewest:
        limits.append(f"The smallest quiz has {several(fewest, 'question')}: its score is coarse.")
    if result.status != "finished":
        limits.append("The run had not finished when this was written.")
    return limits

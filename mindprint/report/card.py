"""The model card: what the adapters are, what they were measured to do, and where they stop."""

from __future__ import annotations

import re
from collections.abc import Sequence

from mindprint.report import endings, summary, tables
from mindprint.report.inline import code, inline, paragraph
from mindprint.report.markdown_voice import basis, standing
from mindprint.report.model import Result
from mindprint.report.text import Table, full_topic_table, markdown
from mindprint.report.voicing import against_examples, control_table, placed, unmeasured
from mindprint.report.words import parameters, percent, several, share, spoken, whole

LICENCE = "unknown: mindprint was not told the licence of the base model"


def card(result: Result) -> str:
    """Markdown with the metadata block that the model hub reads."""
    parts = [
        _metadata(result),
        f"# {inline(result.title)}",
        f"LoRA adapters that teach {code(_base(result))} what {inline(result.author)} knows and "
        f"how they say it, trained topic by topic. {inline(spoken(result.verdict))}",
        *measured(result),
        "## Base model",
        f"{code(_base(result))} ({inline(result.model.family)}, "
        f"{parameters(result.model.parameters)} parameters, hash {code(result.model.id)}). "
        f"Licence of the base: {LICENCE}. The base itself is not changed; without it the adapters "
        "do nothing.",
        *data(result),
        "## Limits",
        "\n".join(f"- {paragraph(limit)}" for limit in limits(result)),
    ]
    return "\n\n".join(parts) + "\n"


def measured(result: Result) -> list[str]:
    """The sections on scores and voice, for any card of this run's model."""
    return [
        "## What was measured",
        markdown(full_topic_table(result)),
        _measured(result),
        "## The voice",
        _voice(result),
    ]


def data(result: Result) -> list[str]:
    """The section on what was trained on, with the hash of every file."""
    return ["## Data", _data(result)]


def limits(result: Result) -> list[str]:
    """Where the scores stop, a sentence or two each."""
    found = [
        "The scores hold for these quizzes and this decoding; they say nothing about other topics.",
        "The voice is imitated. An answer in it is not a statement by the author.",
    ]
    found += _unmeasured(result)
    failed = [topic.title for topic in result.topics if topic.status == "failed"]
    if failed:
        found.append("These topics did not pass: " + ", ".join(failed) + ".")
    fewest = min((len(t.questions) for t in result.topics if t.questions), default=0)
    if fewest:
        found.append(f"The smallest quiz has {several(fewest, 'question')}: its score is coarse.")
    if result.status != "finished":
        found.append("The run had not finished when this was written.")
    return found


def _base(result: Result) -> str:
    model = result.model
    return f"{model.path}@{model.revision}" if model.revision else model.path


def _metadata(result: Result) -> str:
    return metadata("peft", result.model.path, ("lora", "mindprint"))


def metadata(library: str, base: str, tags: Sequence[str], more: Sequence[str] = ()) -> str:
    """The block that the model hub reads; `base` is named where it is a hub id and no folder."""
    lines = ["---", f"library_name: {library}"]
    if re.fullmatch(r"[\w-][\w.-]*/[\w.-]+", base):
        lines.append(f"base_model: {base}")
    return "\n".join([*lines, *more, f"tags: [{', '.join(tags)}]", "---"])


def _measured(result: Result) -> str:
    asked = sum(len(topic.questions) for topic in result.topics)
    gates = " and ".join(
        f"{measure} {share(summary.gate(result, measure))}" for measure in ("accuracy", "voice")
    )
    both = summary.right_and_voiced(result)
    told = (
        f" {percent(both)} of the answers at each topic's end are right and in voice."
        if both
        else ""
    )
    return (
        f"{several(asked, 'quiz question')}, answered greedily; intervals are 95 %, resampled over "
        f"questions. A topic passes with {gates}. Accuracy is the share of a question's key points "
        "that an answer holds, less the share of its forbidden claims. Where there are choices it "
        "goes by the one the model finds likeliest per character, and their share right is "
        "corrected for guessing. Markers compare the author's marks with how many are expected. "
        f"{inline(summary.voice_basis(result))}{told}"
    )


def _voice(result: Result) -> str:
    """The scale, the final reading and the controls, or why there are none."""
    record = result.voice
    if (why := unmeasured(result)) or record is None:
        return f"{paragraph(why)} Gates go by the markers."
    parts = [basis(result, record)]
    if record.final is not None:
        parts.append(standing(record.final))
    if record.controls:
        parts.append(markdown(control_table(record.controls)))
    return "\n\n".join(parts)


def _data(result: Result) -> str:
    rows = sum(stage.rows for _, stage in summary.stages(result) if stage.attempt == 0)
    files = tuple((code(name), code(digest)) for name, digest in result.hashes.items())
    note = f" {inline(result.curriculum_note)}" if result.curriculum_note else ""
    table = markdown(Table(("file", "SHA-256"), files)) if files else ""
    dropped = inline(" ".join(tables.dropped(result)))
    return f"{whole(rows)} rows by {inline(result.author)}.{note} {dropped}\n\n{table}".rstrip()


def _unmeasured(result: Result) -> list[str]:
    """What was lost again, what the voice scale could not tell, and what was not asked."""
    found = [said] if (said := endings.told(result)) else []
    if why := unmeasured(result):
        found.append(f"{why} What is said of the voice rests on the markers alone.")
    final = placed(result)
    if result.voice is not None and final is not None:
        if said := against_examples(result.voice):
            found.append(said)
        found += [
            f"The voice family `{family.name}` could not be measured ({family.because})."
            for family in final.families
            if not family.measurable
        ]
    if not result.forgetting:
        found.append("Earlier topics were not asked again: what was forgotten is not known.")
    return found

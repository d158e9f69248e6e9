"""The voice section of the Markdown report."""

from __future__ import annotations

from collections.abc import Iterator

from mindprint.report.inline import inline, paragraph
from mindprint.report.model import Result
from mindprint.report.text import Table, markdown, one_line
from mindprint.report.voice import Reading, VoiceRecord
from mindprint.report.voicing import (
    against_examples,
    control_table,
    course,
    course_table,
    family_table,
    some_answers,
    unmeasured,
    word_table,
)
from mindprint.report.words import percent, several, share, span


def voice(result: Result) -> Iterator[str]:
    """Its scale, where the final model stands on it, its controls, words and some answers."""
    yield "## The voice"
    record = result.voice
    if why := unmeasured(result):
        yield f"{paragraph(why)} Gates go by the markers."
    elif record is not None:
        yield basis(result, record)
        yield from _measured(result, record)
    if record is not None and record.answers:
        yield markdown(_open_table(record))


def basis(result: Result, record: VoiceRecord) -> str:
    """How the scale was made, with its figures."""
    return (
        f"0 is how the base answers {several(record.prompts, 'open prompt')}, 1 how "
        f"{inline(result.author)} does; texts are compared in bags of "
        f"{several(record.bag_words, 'word')} with content words masked "
        f"({inline(record.masking)}). The instrument tells the author from the base with an AUC "
        f"of {share(record.auc)}."
    )


def standing(reading: Reading) -> str:
    """Where a reading stands on the scale, and what keeps it honest."""
    if not reading.measurable:
        because = inline(reading.because).rstrip(".")
        return f"Where the final model stands cannot be measured: {because}."
    return (
        f"The final model stands at {share(reading.value)} (95 % interval "
        f"{span(reading.low, reading.high)}; {share(reading.unclipped)} not clipped). "
        f"{percent(reading.copied)} of its 8-word runs stand in the training text, the longest "
        f"copy has {several(reading.longest_copy, 'word')}; {percent(reading.on_prompt)} of the "
        "answers hold a word of their prompt."
    )


def _measured(result: Result, record: VoiceRecord) -> Iterator[str]:
    if record.final is not None:
        yield standing(record.final)
        if said := against_examples(record):
            yield paragraph(said)
        if record.final.measurable:
            yield markdown(family_table(record.final))
    if len(course(result)) > 1:
        yield "Over the run:"
        yield markdown(course_table(result))
    if record.controls:
        yield "Controls, the same instrument on texts whose place is known:"
        yield markdown(control_table(record.controls))
    if record.words:
        yield "Words the model overuses (z above 0) and underuses (below 0) against the author:"
        yield markdown(word_table(record.words))


def _open_table(record: VoiceRecord) -> Table:
    rows = tuple(
        (_line(one.prompt), _line(one.author), _line(one.base), _line(one.final))
        for one in some_answers(record)
    )
    return Table(("prompt", "the author", "base", "final"), rows)


def _line(text: str) -> str:
    return one_line(text) or "(no text)"

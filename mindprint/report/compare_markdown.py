"""A comparison as Markdown: what the page shows, for a terminal, a review or a repository."""

from __future__ import annotations

from collections.abc import Iterator

from mindprint.compare.model import Agreement, Comparison
from mindprint.report import compare_summary, compare_tables
from mindprint.report import compare_words as said
from mindprint.report.inline import inline, paragraph
from mindprint.report.text import Table, markdown, one_line
from mindprint.report.words import typeset


def document(comparison: Comparison) -> str:
    """The whole comparison as text."""
    parts = [
        f"# {inline(comparison.title)}: {inline(compare_summary.headline(comparison))}",
        f"{paragraph(comparison.author)}. Every run is held against the first, "
        f"{inline(comparison.runs[0].name)}. Compared with mindprint "
        f"{inline(comparison.mindprint)}.",
        f"**{inline(typeset(comparison.verdict))}**",
        *_differences(comparison),
        *_scores(comparison),
        *_steps(comparison),
        *_answers(comparison),
        *_adapters(comparison),
        "## Speed, memory and time",
        "Undone stages are counted too. In brackets, how many times the first run's figure.",
        markdown(compare_tables.cost(comparison)),
        "## The runs",
        markdown(compare_tables.folders(comparison)),
    ]
    return "\n\n".join(parts) + "\n"


def _differences(comparison: Comparison) -> Iterator[str]:
    yield "## What differs"
    if comparison.differences:
        yield markdown(compare_tables.differences(comparison))
    else:
        yield "Nothing that a run writes down."
    if comparison.same:
        yield f"The same in all: {inline(', '.join(comparison.same))}."
    if comparison.notes:
        yield "\n".join(f"- {paragraph(note)}" for note in comparison.notes)


def _scores(comparison: Comparison) -> Iterator[str]:
    yield "## What they learned"
    yield markdown(compare_tables.runs(comparison))
    if not comparison.paired:
        yield (
            "Where the quizzes are not the same questions, or not asked of the same state, no "
            "difference is taken."
        )
    if comparison.topics:
        yield markdown(compare_tables.scores(comparison))
    if why := said.open_voice(comparison):
        yield paragraph(why)


def _steps(comparison: Comparison) -> Iterator[str]:
    if not comparison.partings:
        return
    yield "## Where they part"
    found = compare_summary.first_parting(comparison)
    if compare_summary.kept(comparison):
        yield "They do not part: every stage keeps within its bound at every step."
    yield from (paragraph(typeset(told)) for told in found)
    yield markdown(compare_tables.partings(comparison))
    for lesson in compare_summary.lessons(comparison):
        for curve in lesson.curves:
            yield f"{paragraph(lesson.title)}, {said.figure_name(curve)}:"
            yield markdown(compare_tables.curve(comparison, curve))


def _answers(comparison: Comparison) -> Iterator[str]:
    if not comparison.agreement:
        return
    yield "## What they answer"
    yield markdown(compare_tables.agreement(comparison))
    for one in comparison.agreement:
        yield from _example(comparison, one)


def _example(comparison: Comparison, one: Agreement) -> Iterator[str]:
    if one.example is None:
        return
    question, first, other = one.example
    yield f"### {inline(question)}"
    rows = tuple(
        (name, one_line(text) or "(no text)")
        for name, text in ((comparison.runs[0].name, first), (one.run, other))
    )
    yield markdown(Table((said.state(one), "answer"), rows))


def _adapters(comparison: Comparison) -> Iterator[str]:
    yield "## What they added to the weights"
    if comparison.distances:
        yield markdown(compare_tables.distances(comparison))
    yield markdown(compare_tables.norms(comparison))

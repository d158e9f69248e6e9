"""A comparison for a terminal: the verdict, then tables in the page's order."""

from __future__ import annotations

from collections.abc import Iterator

from mindprint.compare.model import Comparison
from mindprint.report import compare_summary, compare_tables
from mindprint.report import compare_words as said
from mindprint.report.text import Table, plain
from mindprint.report.words import typeset


def text(comparison: Comparison) -> str:
    """All but the curves and the examples, which the page and the Markdown have."""
    return "\n\n".join(_parts(comparison))


def _parts(comparison: Comparison) -> Iterator[str]:
    yield f"{comparison.title}: {compare_summary.headline(comparison)}"
    yield typeset(comparison.verdict)
    if comparison.differences:
        yield _headed("what differs", compare_tables.differences(comparison))
    if comparison.same:
        yield f"the same in all: {', '.join(comparison.same)}"
    if comparison.notes:
        yield "\n".join(f"note: {note}" for note in comparison.notes)
    yield _headed("the runs", compare_tables.runs(comparison))
    if comparison.topics:
        yield _headed("topic by topic", compare_tables.scores(comparison))
    if why := said.open_voice(comparison):
        yield why
    yield from _steps(comparison)
    if comparison.agreement:
        yield _headed("greedy answers", compare_tables.agreement(comparison))
    if comparison.distances:
        yield _headed("adapters", compare_tables.distances(comparison))
    yield _headed("speed, memory, time", compare_tables.cost(comparison))


def _steps(comparison: Comparison) -> Iterator[str]:
    if comparison.partings:
        table = compare_tables.together(comparison)
        yield _headed(f"how far from {comparison.runs[0].name}", table)
    yield from compare_summary.first_parting(comparison)


def _headed(name: str, table: Table) -> str:
    return f"{name}\n\n{plain(table)}"

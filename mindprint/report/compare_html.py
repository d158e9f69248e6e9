"""A comparison as one page that needs nothing else, made as the report's page is."""

from __future__ import annotations

from mindprint.compare.model import Comparison
from mindprint.report import compare_curves, compare_summary, compare_tables, compare_words
from mindprint.report.html import environment

TEMPLATE = "compare.html.j2"


def page(comparison: Comparison) -> str:
    """The whole page as text. Everything from the runs is escaped."""
    return (
        environment()
        .get_template(TEMPLATE)
        .render(
            comparison=comparison,
            curves=compare_curves,
            whole=compare_summary,
            made=compare_tables,
            said=compare_words,
        )
    )

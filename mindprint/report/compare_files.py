"""A comparison written out: the figures, and what renders them."""

from __future__ import annotations

from pathlib import Path

from mindprint.compare.model import Comparison
from mindprint.disk.sealed import write_json
from mindprint.disk.whole import write_text
from mindprint.report.compare_html import page
from mindprint.report.compare_markdown import document

JSON, HTML, MARKDOWN = "comparison.json", "comparison.html", "comparison.md"


def write_comparison(folder: Path, comparison: Comparison) -> Path:
    """comparison.json, comparison.html and comparison.md in `folder`, each whole or not at all;
    returns the page's path. Earlier ones are replaced. Raises OSError and NoRoom."""
    html, markdown = page(comparison), document(comparison)
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / JSON, comparison.model_dump(mode="json"))
    write_text(folder / MARKDOWN, markdown)
    write_text(folder / HTML, html)
    return folder / HTML

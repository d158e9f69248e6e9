"""Tables in their places in a document: each between two marks that name it."""

from __future__ import annotations

from pathlib import Path

from mindprint.disk.whole import write_text

BEGINS = "<!-- {}: written by {}, not by hand -->"
ENDS = "<!-- end of {} -->"
BENCH = "scripts/bench.py"


def check(document: Path, names: tuple[str, ...], script: str = BENCH) -> None:
    """Raises ValueError where there is no document, or a name has no place for `script` in it."""
    if not document.is_file():
        raise ValueError(f"there is no document {document}")
    for name in names:
        _parts(document.read_text("utf-8"), name, document, script)


def place(document: Path, tables: dict[str, str], script: str = BENCH) -> None:
    """Each text between the marks of its name; the rest stays. Raises ValueError as `check`."""
    check(document, tuple(tables), script)
    text = document.read_text("utf-8")
    for name, told in tables.items():
        before, after = _parts(text, name, document, script)
        text = f"{before}{BEGINS.format(name, script)}\n\n{told}\n\n{ENDS.format(name)}{after}"
    write_text(document, text)


def _parts(text: str, name: str, document: Path, script: str) -> tuple[str, str]:
    opening = BEGINS.format(name, script)
    before, begins, rest = text.partition(opening)
    _, ends, after = rest.partition(ENDS.format(name))
    if not (begins and ends):
        marks = f"`{opening}` and `{ENDS.format(name)}`"
        raise ValueError(f"{document} has no place for `{name}`: {marks}")
    return before, after

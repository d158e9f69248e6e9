"""What was measured, as a Markdown table, and in its place in a document."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mindprint.disk.whole import write_text
from side_by_side.measured import BARS, Bar, Measured

BEGINS = "<!-- measured: written by scripts/parity.py, not by hand -->"
ENDS = "<!-- end of what was measured -->"


def table(rows: Sequence[Measured]) -> str:
    """One line for each model, the bars first."""
    heads = ["model", "parameters", *(bar.title for bar in BARS), "no window"]
    lines = [
        _line(heads),
        _line(["---", *["---:"] * (len(heads) - 1)]),
        _line(
            [
                "**bar**",
                "",
                *(f"{'>=' if bar.least else '<='} {_shown(bar, bar.value)}" for bar in BARS),
                "",
            ]
        ),
    ]
    return "\n".join([*lines, *(_row(row) for row in rows)])


def told(rows: Sequence[Measured], steps: int, versions: dict[str, str]) -> str:
    """Table, sizes, libraries, losses and versions, for a document."""
    sizes = sorted(row.parameters for row in rows)
    names = ", ".join(f"{name} {version}" for name, version in sorted(versions.items()))
    return "\n".join(
        [
            table(rows),
            "",
            f"{steps} SFT steps and {steps // 2} DPO steps; models of {sizes[0]:,} to "
            f"{sizes[-1]:,} parameters; float32 on the CPU.",
            *_served(rows),
            *_fell(rows),
            f"Measured with {names}.",
        ]
    )


def _served(rows: Sequence[Measured]) -> list[str]:
    """Which library multiplied on each side: two sides with one of them share how it adds."""
    found = sorted({(side, name) for row in rows for side, name in row.served.items()})
    if not found:
        return []
    return [f"Matrix products: {'; '.join(f'{side} by {name}' for side, name in found)}."]


def _fell(rows: Sequence[Measured]) -> list[str]:
    """What was learned: agreement in standing still is none."""
    columns = list(zip(*(row.fell for row in rows if row.fell), strict=True))
    if not columns:
        return []
    spans = [f"{min(column):.2f}-{max(column):.2f}" for column in columns]
    return [
        f"SFT's losses fall from {spans[0]} to {spans[1]}, DPO's from {spans[2]} to {spans[3]}."
    ]


def check_place(document: Path) -> None:
    """Raises ValueError where there is no document, or none with the two marks in it."""
    _parts(document)


def place(document: Path, text: str) -> None:
    """Put `text` between the two marks of `document`. Raises ValueError where they are missing."""
    before, after = _parts(document)
    write_text(document, f"{before}{BEGINS}\n\n{text}\n\n{ENDS}{after}")


def _parts(document: Path) -> tuple[str, str]:
    if not document.is_file():
        raise ValueError(f"there is no document {document}")
    before, begins, rest = document.read_text("utf-8").partition(BEGINS)
    _, ends, after = rest.partition(ENDS)
    if not (begins and ends):
        raise ValueError(f"{document} has no place for the table: `{BEGINS}` and `{ENDS}`")
    return before, after


def _row(row: Measured) -> str:
    size = f"{row.parameters:,}"
    if row.refused:
        return _line([row.title, size, f"refused ({row.refused})", *[""] * len(BARS)])
    figures = [_shown(bar, row.figures[bar.key]) if bar.key in row.figures else "-" for bar in BARS]
    without = "-" if row.windowless is None else f"{row.windowless:.1f}"
    return _line([row.title, size, *figures, without])


def _shown(bar: Bar, value: float) -> str:
    return f"{100 * value:.4g} %" if bar.least else f"{value:.1e}".replace("e-0", "e-")


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"

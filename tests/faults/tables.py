"""What torture found, as Markdown, and its place in a page."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from tests.faults.kills import Kill
from tests.faults.shots import MOMENTS


def kills_table(kills: Sequence[Kill]) -> str:
    """One row a backend and moment, and one for all of them."""
    lines = [
        "| backend | killed in | kills | byte-identical adapters and ledger | equal results |",
        "|---|---|---:|---:|---:|",
    ]
    for backend in sorted({kill.backend for kill in kills}):
        own = [kill for kill in kills if kill.backend == backend]
        for moment, words in MOMENTS.items():
            there = [kill for kill in own if kill.moment == moment]
            if there:
                lines.append(_row(backend, words, there))
        lines.append(_row(f"**{backend}**", "**all**", own))
    return "\n".join(lines)


def _row(backend: str, words: str, kills: Sequence[Kill]) -> str:
    identical = sum(not kill.differing for kill in kills)
    equal = sum(not kill.scores and not kill.told for kill in kills)
    return f"| {backend} | {words} | {len(kills)} | {identical} | {equal} |"


def damage_table(rows: Sequence[tuple[str, str, str]]) -> str:
    """`rows`: (kind of file, damage, outcome), gathered into one row a kind of file."""
    damages = list(dict.fromkeys(damage for _, damage, _ in rows))
    lines = [
        "| file | " + " | ".join(damages) + " |",
        "|---|" + "---|" * len(damages),
    ]
    for kind in dict.fromkeys(kind for kind, _, _ in rows):
        cells = [_cell([o for k, d, o in rows if (k, d) == (kind, damage)]) for damage in damages]
        lines.append(f"| `{kind}` | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _cell(outcomes: Sequence[str]) -> str:
    """Each outcome once, in one line, with how often where there were several."""
    told = [" ".join(outcome.split()).replace("|", "/") for outcome in outcomes]
    counts = {outcome: told.count(outcome) for outcome in dict.fromkeys(told)}
    if len(counts) <= 1:
        return next(iter(counts), "–")
    return ", ".join(f"{outcome} ({count})" for outcome, count in counts.items())


def paste(page: Path, mark: str, text: str) -> None:
    """Put `text` between `<!-- mark -->` and `<!-- /mark -->`. Raises LookupError without them."""
    pattern = re.compile(rf"(<!-- {mark} -->\n).*?(<!-- /{mark} -->)", re.DOTALL)
    content = page.read_text("utf-8")
    if not pattern.search(content):
        raise LookupError(f"{page} has no place marked `{mark}`")
    page.write_text(pattern.sub(lambda found: f"{found[1]}{text}\n{found[2]}", content), "utf-8")

"""Where words go: results to stdout, everything else to stderr."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable, Sequence
from typing import Any

from mindprint.visible import visible

_ACTS = re.compile("[\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def result(value: Any) -> None:
    """A result as JSON on stdout."""
    text = json.dumps(value, indent=2, ensure_ascii=False)
    # Inside JSON's strings alone can these stand, and there they may be written out.
    sys.stdout.write(_ACTS.sub(lambda found: f"\\u{ord(found[0]):04x}", text) + "\n")


def lines(rows: Sequence[tuple[str, str, str]], *, to_stderr: bool = False) -> None:
    """Three columns: key, value, and a note in a quieter tone."""
    from rich.console import Console
    from rich.text import Text

    console = Console(stderr=to_stderr, highlight=False, soft_wrap=True)
    first = max((len(key) for key, _, _ in rows), default=0)
    second = max((len(value) for _, value, _ in rows if len(value) <= 28), default=0)
    for key, value, note in (tuple(map(visible, row)) for row in rows):
        text = Text.assemble(
            (f"{key:<{first}}  ", "dim"), f"{value:<{second}}", "  ", (note, "dim")
        )
        text.rstrip()
        console.print(text)


def table(text: str) -> None:
    """A table on stdout, `passed` and `failed` coloured on a terminal."""
    from rich.console import Console
    from rich.text import Text

    words = Text(visible(text))
    words.highlight_regex(r"\bpassed\b", "green")
    words.highlight_regex(r"\bfailed\b", "red")
    Console(highlight=False, soft_wrap=True).print(words)


def note(*texts: str) -> None:
    """Lines for a person, on stderr, after what was already said on stdout."""
    sys.stdout.flush()
    for text in texts:
        print(visible(text), file=sys.stderr)


def bullets(title: str, texts: Iterable[str]) -> None:
    found = list(texts)
    if found:
        note(title, *(f"  - {text}" for text in found))

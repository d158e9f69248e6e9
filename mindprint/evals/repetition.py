"""How far a text repeats itself: tail loops, rep-4, compression in windows of one size."""

from __future__ import annotations

import zlib
from collections.abc import Hashable, Iterator, Sequence

import regex

from mindprint.evals.text import ngrams, words

PERIODS = 3
"""A tail is a loop from this many repetitions on ..."""
TAIL_UNITS = 9
"""... if they hold this many tokens or words: shorter ones are emphasis ("no, no, no") ..."""
TAIL_SHARE = 1 / 3
"""... and this share of the answer."""
REP_4 = 0.5
"""Share of repeated word 4-grams that no honest answer reaches."""
REP_4_GRAMS = 12
"""Word 4-grams below which rep-4 says nothing."""
WINDOW = 200
"""Characters over which the compression ratio is taken: it grows with length."""
PIECE = 100
"""Words in an answer-sized piece of an essay."""


def tail_loops(units: Sequence[Hashable]) -> bool:
    """Whether the last units repeat with some period, at least `PERIODS` times over."""
    least = max(TAIL_UNITS, TAIL_SHARE * len(units))
    for period in range(1, len(units) // PERIODS + 1):
        same = 0
        while same < len(units) - period and units[-1 - same] == units[-1 - same - period]:
            same += 1
        covered = same + period
        if covered >= PERIODS * period and covered >= least:
            return True
    return False


def rep_4(text: str) -> float | None:
    """1 - distinct / all word 4-grams (rep-4 of Welleck et al. 2020, arXiv 1908.04319); None
    below REP_4_GRAMS of them."""
    grams = list(ngrams(words(text), 4))
    return 1 - len(set(grams)) / len(grams) if len(grams) >= REP_4_GRAMS else None


def compression(text: str) -> float | None:
    """The highest ratio of UTF-8 bytes to zlib's over the windows of WINDOW characters, the last
    of them flush with the end; None for a text below one window."""
    last = len(text) - WINDOW
    if last < 0:
        return None
    windows = {*range(0, last + 1, WINDOW), last}
    return max(_ratio(text[start : start + WINDOW]) for start in windows)


def pieces(text: str) -> Iterator[str]:
    """The text in even runs of about PIECE words; up to one and a half of them stay whole."""
    spans = [match.span() for match in regex.finditer(r"\S+", text)]
    count = max(1, round(len(spans) / PIECE)) if spans else 0
    for place in range(count):
        first, after = place * len(spans) // count, (place + 1) * len(spans) // count
        yield text[spans[first][0] : spans[after - 1][1]]


def _ratio(window: str) -> float:
    data = window.encode("utf-8", "surrogatepass")
    return len(data) / len(zlib.compress(data))

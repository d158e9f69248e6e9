"""Regular expressions of voice.yaml, bounded in size and in how long they search."""

from __future__ import annotations

import re
from collections.abc import Iterator

import regex

from mindprint.curriculum.values import printable
from mindprint.evals.voice import TIME_LIMIT, compiled

MAX_PATTERNS = 300
"""Of all markers together; each may search each answer for `TIME_LIMIT` seconds."""
MAX_PATTERN = 1_000
"""Characters of one pattern."""
MAX_SIZE = 1_000_000
"""Characters of a pattern times all its counts: `((a{99}){99}){99}` compiles to a million parts,
and a few characters more take gigabytes before a search begins."""

# A pattern that finds nothing but a place in this, counts places and not marks.
_SAMPLE = "A word, and another one. It's 3!"
_COUNT = re.compile(r"\{(\d*)(?:,(\d*))?\}")
_CALL = re.compile(r"(?<!\\)(?:\\\\)*\(\?(?:R|[+-]?\d+|&|P>)")
_RUN = 120
"""Characters that one letter is repeated in a probe: what takes exponential time shows at 40."""


def pattern_fault(pattern: str) -> str:
    """What is wrong with a regular expression as a mark of the voice; "" when nothing is.

    Whether a pattern takes exponential time cannot be read off it in general. So it is tried on
    texts that such patterns fail on, and, whatever comes of that, no search ever goes on for more
    than `TIME_LIMIT` (`regex` stops it from within).
    """
    shown = f"`{printable(pattern)}`"
    if len(pattern) > MAX_PATTERN:
        return f"{shown} has {len(pattern):,} characters; at most {MAX_PATTERN:,} can be meant"
    if _size(pattern) > MAX_SIZE:
        return f"{shown} repeats so often that it cannot be meant"
    if _CALL.search(pattern):
        return f"{shown} calls itself; a mark is no grammar"
    try:
        found = compiled(pattern)
        if found.search("", timeout=TIME_LIMIT):
            return f"{shown} matches the empty string: it would be found everywhere"
        spans = [match.span() for match in found.finditer(_SAMPLE, timeout=TIME_LIMIT)]
        for text in _probes(pattern):
            if _too_slow(found, text):
                return f"{shown} takes more than {TIME_LIMIT} s on {len(text)} characters"
    except (regex.error, ValueError) as error:
        return f"{shown} is not a regular expression: {error}"
    except (RecursionError, OverflowError, MemoryError):
        return f"{shown} is nested or repeated beyond what can be meant"
    except TimeoutError:
        return f"{shown} takes more than {TIME_LIMIT} s on one sentence"
    if spans and all(start == end for start, end in spans):
        return f"{shown} finds places, not text: it would never count"
    return ""


def _size(pattern: str) -> int:
    """An upper bound of the parts a pattern compiles to."""
    size = len(pattern)
    for low, high in _COUNT.findall(pattern):
        if len(low) > 9 or len(high) > 9:
            return MAX_SIZE + 1
        size *= max(int(low or 0), int(high or 0), 1)
    return size


def _too_slow(found: regex.Pattern[str], text: str) -> bool:
    try:
        for _ in found.finditer(text, timeout=TIME_LIMIT):
            pass
    except TimeoutError:
        return True
    return False


def _probes(pattern: str) -> Iterator[str]:
    """Long runs of what the pattern names, ended by what it hardly can."""
    letters = dict.fromkeys(char for char in pattern.casefold() if char.isalnum())
    for char in [*letters][:12]:
        yield char * _RUN + "\n\u2603"
    yield "word " * (_RUN // 5) + "\n\u2603"
    yield " " * _RUN + "\n\u2603"

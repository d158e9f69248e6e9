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
"""Parts of a pattern, those that are repeated as often as they are: `((a{99}){99}){99}` compiles to
a million, and a few characters more take gigabytes before a search begins."""

# A pattern that finds nothing but a place in this, counts places and not marks.
_SAMPLE = "A word, and another one. It's 3!"
_COUNT = re.compile(r"\{(\d*)(?:,(\d*))?\}")
_CALL = re.compile(r"\(\?(?:R|[+-]?\d+|&|P>)")
# What a pattern is read in: a class is one part, and whatever stands in it is no group.
_PART = re.compile(
    r"(?P<one>\(\?#[^)]*\)|\\.|\[\^?\]?(?:\\.|[^\]\\])*\])"
    r"|(?P<open>\()|(?P<close>\))|(?P<count>\{\d*(?:,\d*)?\})|(?P<other>.)",
    re.DOTALL,
)
# Blanks and comments between the parts, or classes within classes: those are not read that way.
_OTHERWISE = re.compile(r"\(\?[A-Za-z0-9]*[xV]|\[:")
_BROKEN_COUNT = re.compile(r"\{[\d,]*[\s#]")
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
    if _calls(pattern):
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


def _calls(pattern: str) -> bool:
    if _OTHERWISE.search(pattern):
        return _CALL.search(pattern) is not None
    opened = (part for part in _PART.finditer(pattern) if part.lastgroup == "open")
    return any(_CALL.match(pattern, part.start()) for part in opened)


def _size(pattern: str) -> int:
    """An upper bound of the parts a pattern compiles to: counts multiply what they stand behind,
    and what stands side by side adds up."""
    if _OTHERWISE.search(pattern):
        return _product(pattern)
    groups, last = [0], 0  # parts so far of each open group; of what a count would repeat
    for part in _PART.finditer(pattern):
        if part.lastgroup == "open":
            groups.append(1)
            last = 0
            continue
        if part.lastgroup == "count":
            more = last * (_times(part[0]) - 1)
            last += more
            groups[-1] += more + len(part[0])
            continue
        last = 1
        if part.lastgroup == "one":
            last = len(part[0])
        elif part.lastgroup == "close" and len(groups) > 1:
            last = groups.pop()
        groups[-1] += last
    return sum(groups)


def _product(pattern: str) -> int:
    """A coarser bound, for patterns whose parts are not read off: all counts multiply."""
    if _BROKEN_COUNT.search(pattern):
        return MAX_SIZE + 1
    size = len(pattern)
    for count in _COUNT.finditer(pattern):
        size *= _times(count[0])
    return size


def _times(count: str) -> int:
    """How often `{3}`, `{,5}` or `{2,8}` repeats at most; at least 1."""
    found = _COUNT.fullmatch(count)
    bounds = [bound for bound in found.groups() if bound] if found else []
    if any(len(bound) > 9 for bound in bounds):
        return MAX_SIZE + 1
    return max([1, *map(int, bounds)])


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

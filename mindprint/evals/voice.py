"""Voice of one answer: marks of the author's way of speaking, and phrases never said."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache

import regex

from mindprint.curriculum.records import Marker, Voice
from mindprint.evals.text import contains

TIME_LIMIT = 0.2
"""Seconds that one pattern may search one answer."""


class SlowPattern(Exception):
    """A search that did not end within the time limit."""


@dataclass(frozen=True)
class Voiced:
    """`score` in 0..1; `marks`: matches of all categories; `slow`: patterns that ran too long."""

    score: float
    marks: int
    reasons: tuple[str, ...] = ()
    slow: tuple[str, ...] = ()


def score_voice(text: str, voice: Voice) -> Voiced:
    """Mean over the categories of `share`, halved for each never-phrase said.

    Without categories nothing can be missed and the mean is 1. A pattern that exceeds the time
    limit counts no match, which is a reason.
    """
    shares, reasons, slow, marks = [], [], [], 0
    for marker in voice.markers:
        count, late = count_marks(text, marker)
        marks += count
        slow += late
        reasons += [f"{marker.name}: `{p}` searched longer than {TIME_LIMIT} s, 0" for p in late]
        shares.append(share(count, marker.expect))
        if shares[-1] < 1:
            reasons.append(f"{marker.name}: {count} found, {expected(marker)} expected")
    score = sum(shares) / len(shares) if shares else 1.0
    for phrase in voice.never_phrases:
        if contains(text, phrase):
            score /= 2
            reasons.append(f"never-phrase said: `{phrase}`")
    return Voiced(score, marks, tuple(reasons), tuple(slow))


def share(count: int, expect: tuple[int, int]) -> float:
    """1 inside [low, high], count/low below, high/count above; 1/(1 + count) where high is 0."""
    low, high = expect
    if count < low:
        return count / low
    if count > high:
        return high / count if high else 1 / (1 + count)
    return 1.0


def expected(marker: Marker) -> str:
    low, high = marker.expect
    return str(low) if low == high else f"{low} to {high}"


def count_marks(text: str, marker: Marker) -> tuple[int, list[str]]:
    """Matches of any of the marker's patterns, and the patterns that ran out of time.

    A stretch of text counts once, however many patterns find it.
    """
    spans: list[tuple[int, int]] = []
    slow: list[str] = []
    for pattern in marker.patterns:
        try:
            spans += matches(pattern, text)
        except SlowPattern:
            slow.append(pattern)
    return sum(1 for _ in _apart(spans)), slow


def matches(pattern: str, text: str) -> list[tuple[int, int]]:
    """(start, end) of each match that holds a character. Raises SlowPattern, regex.error."""
    try:
        found = [match.span() for match in compiled(pattern).finditer(text, timeout=TIME_LIMIT)]
    except TimeoutError as error:
        raise SlowPattern(pattern) from error
    return [(start, end) for start, end in found if end > start]


@lru_cache(maxsize=1024)
def compiled(pattern: str) -> regex.Pattern[str]:
    """The pattern as voice.yaml's are read: case-insensitive. Raises regex.error."""
    return regex.compile(pattern, regex.IGNORECASE)


def _apart(spans: Iterable[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """The spans from left to right without those that overlap an earlier one."""
    reached = 0
    for start, end in sorted(spans):
        if start >= reached:
            reached = end
            yield start, end

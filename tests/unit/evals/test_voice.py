"""Marks of the voice: worked examples, and patterns that would never end."""

from __future__ import annotations

import pytest

from mindprint.curriculum.records import Marker, Voice
from mindprint.evals.voice import count_marks, score_voice, share

OATHS = Marker("oaths", (r"\bby the tide\b", r"\bsalt and rope\b"), (1, 2))
NO_SHOUTS = Marker("shouts", (r"!",), (0, 0))
VOICE = Voice(markers=(OATHS, NO_SHOUTS), never_phrases=("as an AI", "in conclusion"))

# Alternatives that match the same text double the work with each letter: 2^60 ways to fail.
CATASTROPHE = r"(a|aa)+$"
VICTIM = "a" * 60 + "b"


@pytest.mark.parametrize(
    ("count", "expect", "expected"),
    [
        (0, (1, 2), 0.0),
        (1, (1, 2), 1.0),
        (2, (1, 2), 1.0),
        (3, (1, 2), 2 / 3),
        (1, (4, 4), 0.25),
        (0, (0, 0), 1.0),
        (1, (0, 0), 0.5),
        (3, (0, 0), 0.25),
        (0, (0, 3), 1.0),
    ],
)
def test_share(count: int, expect: tuple[int, int], expected: float) -> None:
    assert share(count, expect) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("text", "score", "marks"),
    [
        ("By the Tide, it is whale oil.", 1.0, 1),
        ("It is whale oil.", 0.5, 0),  # (0 + 1) / 2
        ("By the tide! Salt and rope!", 2 / 3, 4),  # (1 + 1/3) / 2
        ("By the tide by the tide by the tide by the tide.", 0.75, 4),  # (2/4 + 1) / 2
        ("As an AI, by the tide.", 0.5, 1),
        ("As an AI, in conclusion, by the tide.", 0.25, 1),
        ("As an aide, by the tide.", 1.0, 1),
        ("", 0.5, 0),
    ],
)
def test_worked_examples(text: str, score: float, marks: int) -> None:
    found = score_voice(text, VOICE)
    assert found.score == pytest.approx(score)
    assert found.marks == marks


def test_reasons_name_the_category_and_the_phrase() -> None:
    found = score_voice("As an AI I cannot!", VOICE)
    assert found.reasons == (
        "oaths: 0 found, 1 to 2 expected",
        "shouts: 1 found, 0 expected",
        "never-phrase said: `as an AI`",
    )


def test_a_stretch_counts_once_however_many_patterns_find_it() -> None:
    both = Marker("sea", (r"\bby the tide\b", r"\btide\b", r"(?=tide)"), (1, 1))
    assert count_marks("by the tide, and the tide", both) == (2, [])


def test_without_markers_nothing_can_be_missed() -> None:
    assert score_voice("anything", Voice()).score == 1.0
    assert score_voice("as an AI", Voice(never_phrases=("as an AI",))).score == 0.5


def test_a_catastrophic_pattern_ends_counts_nothing_and_is_a_reason() -> None:
    marker = Marker("slow", (CATASTROPHE, "b"), (1, 1))
    found = score_voice(VICTIM, Voice(markers=(marker,)))
    assert (found.score, found.marks, found.slow) == (1.0, 1, (CATASTROPHE,))
    assert found.reasons == (f"slow: `{CATASTROPHE}` searched longer than 0.2 s, 0",)

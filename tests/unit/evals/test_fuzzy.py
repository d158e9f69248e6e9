"""What a misspelling may part: long words a little, short words and numbers not at all."""

from __future__ import annotations

import pytest

from mindprint.evals.fuzzy import FUZZY, FUZZY_WORD, near


@pytest.mark.parametrize(
    ("spoken", "phrase", "places"),
    [
        ("it is biliard cloth", "billiard cloth", [2]),
        ("it is billiard cloth", "billiard cloth", [2]),
        ("billiard clot", "billiard cloth", []),  # four letters are another word
        ("a barometers and barometer", "barometer", [1, 3]),
        ("marn", "marne", []),
        ("irresponsible", "responsible", []),
        ("immoral", "moral", []),
        ("in 1885", "in 1886", []),
        ("room 101b", "room 101a", []),
        ("two hundred and sixteen", "two hundred and seventeen", []),
        # 93 % alike as a phrase, and 67 % in the one word that counts
        (
            "one thousand two hundred and fifteen",
            "one thousand two hundred and fourteen",
            [],
        ),
        ("", "cloth", []),
        ("cloth", "", []),
        ("cloth", "billiard cloth", []),
    ],
)
def test_near(spoken: str, phrase: str, places: list[int]) -> None:
    assert list(near(spoken.split(), phrase.split())) == places


def test_the_thresholds_are_of_indels() -> None:
    # rapidfuzz's ratio: twice the letters in common over the letters of both
    long = "abcdefghijklmnopqrstuvwxyz"
    for dropped in range(1, 10):
        share = 100 * 2 * (26 - dropped) / (52 - dropped)
        kept = long[: 26 - dropped]
        assert bool(list(near([kept], [long]))) is (share >= FUZZY)
    assert FUZZY_WORD < FUZZY

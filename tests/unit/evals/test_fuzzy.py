"""What a misspelling may part: long words a little, short words and numbers not at all."""

from __future__ import annotations

import pytest

from mindprint.evals.fuzzy import EXACT, FUZZY, near


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


def test_the_threshold_of_a_phrase_is_of_indels() -> None:
    # rapidfuzz's ratio: twice the letters in common over the letters of both. Two neighbours in
    # each other's place leave all letters but one in common.
    for more in range(12):
        phrase, said = ["receive", "x" * more][: 1 + bool(more)], ["recieve", "x" * more]
        long = 7 + bool(more) + more
        share = 100 * 2 * (long - 1) / (2 * long)
        assert bool(list(near(said[: len(phrase)], phrase))) is (share >= FUZZY)


@pytest.mark.parametrize(
    ("said", "meant", "same"),
    [
        # a double lost or won, from five letters on
        ("abcdefghiij", "abcdefghij", True),
        ("pomfrett", "pomfret", True),
        ("abbot", "abot", False),
        # any other letter more: from eight letters on in both
        ("martina", "martin", False),
        ("abcdefgh", "abcdefghi", True),
        ("abcdefg", "abcdefgh", False),
        # a substitution, and two of them
        ("temperence", "temperance", True),
        ("temperense", "temperance", False),
        ("bemperance", "temperance", False),
        ("thursdya", "thursday", False),
        ("seventeen", "seventeenth", False),
    ],
)
def test_a_slip_of_the_pen(said: str, meant: str, same: bool) -> None:
    beside = ["and", "a", "long", "phrase", "beside", "it", "that", "does", "not", "change"]
    assert bool(list(near([said, *beside], [meant, *beside]))) is same
    assert bool(list(near([meant, *beside], [said, *beside]))) is same


def test_numbers_days_months_and_winds_are_exact() -> None:
    for word in ("eight", "eighty", "eighth", "fourteenth", "thursday", "february", "southwestern"):
        assert word in EXACT
        beside = ["and", "a", "long", "phrase", "beside", "it", "unchanged"]
        for place in range(1, len(word)):
            slip = word[:place] + word[place - 1] + word[place:]
            assert not list(near([slip, *beside], [word, *beside]))

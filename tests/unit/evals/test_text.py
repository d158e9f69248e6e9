"""Normalised words, whole-word search, n-gram overlap."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mindprint.evals.text import clauses, contains, ngrams, normalise, overlap_share, words
from tests.unit.calm import CALM


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The  Keeper's Lamp!", "keepers lamp"),
        ("Don’t — an oath…", "dont oath"),
        ("1,200 barrels; 3.5 fathoms.", "1200 barrels 3.5 fathoms"),
        ("1,2 and 3", "1 2 and 3"),
        ("ＦＵＬＬ ｗｉｄｔｈ ﬁsh", "full width fish"),
        ("Straße", "strasse"),
        ("灯台の灯", "灯 台 の 灯"),
        ("a\u00a0b\tc\nd", "b c d"),
        ("**bold** _it_ `code` $5", "bold it code 5"),
        ("!?", ""),
    ],
)
def test_normalise(text: str, expected: str) -> None:
    assert normalise(text) == expected


@pytest.mark.parametrize(
    ("text", "phrase", "found"),
    [
        ("It was red oak.", "red oak", True),
        ("It was RED-OAK", "red oak", True),
        ("It was redoak", "red oak", False),
        ("boakum", "oak", False),
        ("the oaks", "oak", False),
        ("3.5 fathoms", "3", False),
        ("Three fathoms", "the three", True),
        ("anything", "the", False),
        ("anything", "", False),
        ("塔は石です", "石", True),
    ],
)
def test_contains_whole_words(text: str, phrase: str, found: bool) -> None:
    assert contains(text, phrase) is found


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Not velvet, but cloth.", ["not velvet", "but cloth"]),
        ("It is 3.5 or 1,200; well-kept!", ["it is 3.5 or 1200", "well kept"]),
        ('not "velvet" or *soot*', ["not velvet or soot"]),
        ("no - yes – no—yes", ["no", "yes", "no", "yes"]),
        ("one\n- two\n\n(three)", ["one", "two", "three"]),
        ("塔は石。木ではない", ["塔 は 石", "木 で は な い"]),
        ("?!", []),
    ],
)
def test_clauses_end_at_punctuation(text: str, expected: list[str]) -> None:
    assert [" ".join(clause) for clause in clauses(text)] == expected


@CALM
@given(st.text())
def test_normalising_twice_is_normalising_once(text: str) -> None:
    assert words(normalise(text)) == words(text)


def test_ngrams_and_overlap() -> None:
    assert list(ngrams("abc", 2)) == [("a", "b"), ("b", "c")]
    assert list(ngrams("a", 2)) == []
    # Grams of "b c d": (b c), (c d). "b c x" holds the first alone.
    assert overlap_share(["B, c d"], ["b c x"], 2) == 0.5
    assert overlap_share([], ["b"], 2) == 0.0
    assert overlap_share(["b"], [], 2) == 0.0

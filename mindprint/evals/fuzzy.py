"""Words of an answer that a misspelling parts from what was looked for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

FUZZY = 90
"""Similarity of a whole phrase, in per cent (rapidfuzz's `ratio`: indels), from which it is read
as meant ..."""
FUZZY_WORD = 80
"""... if each of its words is as similar as this, so that a long phrase hides no other word."""
SHORTEST = 5
"""Letters below which a word is itself or another: "oak" is no misspelt "ash"."""


def near(spoken: Sequence[str], phrase: Sequence[str]) -> Iterator[int]:
    """Places in `spoken` where as many words as `phrase` has resemble it, all normalised.

    Word by word: those with a digit or fewer than SHORTEST letters are equal, and longer ones
    begin with the same letter ("irresponsible" is not "responsible").
    """
    from rapidfuzz import fuzz

    wanted, size = " ".join(phrase), len(phrase)
    for place in range(len(spoken) - size + 1 if size else 0):
        window = spoken[place : place + size]
        pairs = zip(window, phrase, strict=True)
        if all(_alike(said, meant) for said, meant in pairs) and (
            fuzz.ratio(" ".join(window), wanted) >= FUZZY
        ):
            yield place


def _alike(said: str, meant: str) -> bool:
    if said == meant:
        return True
    if min(len(said), len(meant)) < SHORTEST or said[0] != meant[0]:
        return False
    if any(letter.isnumeric() for letter in said + meant):
        return False
    from rapidfuzz import fuzz

    return bool(fuzz.ratio(said, meant) >= FUZZY_WORD)

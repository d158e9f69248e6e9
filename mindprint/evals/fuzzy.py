"""Words of an answer that a misspelling parts from what was looked for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

FUZZY = 90
"""Similarity of a whole phrase, in per cent (rapidfuzz's `ratio`: indels), from which it is read
as meant, if each of its words is equal or a slip of the pen."""
SHORTEST = 5
"""Letters below which a word is itself or another: "oak" is no misspelt "ash"."""
LONG = 8
"""Letters from which any single slip is read as meant."""

_UNITS = "zero one two three four five six seven eight nine ten eleven twelve"
_TEENS = "thirteen fourteen fifteen sixteen seventeen eighteen nineteen"
_TENS = "twenty thirty forty fourty fifty sixty seventy eighty ninety"
_LARGE = "dozen score hundred thousand million billion trillion half quarter"
_ORDINALS = "first second third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth"
_TENTHS = "twentieth thirtieth fortieth fiftieth sixtieth seventieth eightieth ninetieth"
_TIMES = "once twice thrice single double triple treble"
_DAYS = "monday tuesday wednesday thursday friday saturday sunday"
_MONTHS = "january february march april may june july august september october november december"
_WINDS = "north east south west northeast northwest southeast southwest"
_COUNTED = f"{_UNITS} {_TEENS} {_TENS} {_LARGE} {_ORDINALS} {_TENTHS} {_TIMES} {_DAYS}".split()

EXACT = frozenset(
    {
        *(word + end for word in _COUNTED for end in ("", "s")),
        *(word + "th" for word in f"{_TEENS} hundred thousand million billion trillion".split()),
        *(word + "ths" for word in f"{_TEENS} hundred thousand million billion".split()),
        *_MONTHS.split(),
        *(wind + end for wind in _WINDS.split() for end in ("", "ern", "erly", "ward", "wards")),
    }
)
"""Numbers, ordinals, days, months and the compass, in English: one letter off is another one."""


def near(spoken: Sequence[str], phrase: Sequence[str]) -> Iterator[int]:
    """Places in `spoken` where as many words as `phrase` has resemble it, all normalised.

    Word by word they are equal; or both have SHORTEST letters or more, begin with the same letter
    ("irresponsible" is not "responsible"), and two neighbours have changed places or a doubled
    letter has lost or won its double; or both have LONG letters or more, begin with the same
    letter, and are one insertion, deletion, substitution or transposition of neighbours apart
    (optimal string alignment, `rapidfuzz.distance.OSA`). Words with a digit and those of EXACT
    are equal or others. Words that differ so little by nature are still taken for one another:
    "desert" and "dessert", "Christian" and "Christina" within a longer phrase.
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
    shorter, longer = sorted((said, meant), key=len)
    if len(shorter) < SHORTEST or said[0] != meant[0] or not EXACT.isdisjoint((said, meant)):
        return False
    if any(letter.isnumeric() for letter in said + meant):
        return False
    from rapidfuzz.distance import OSA

    if OSA.distance(said, meant, score_cutoff=1) > 1:
        return False
    if len(shorter) >= LONG:
        return True
    if len(shorter) == len(longer):
        # One edit that keeps every letter is two neighbours in each other's place.
        return sorted(said) == sorted(meant)
    return any(
        longer[place] == longer[place - 1] and longer[:place] + longer[place + 1 :] == shorter
        for place in range(1, len(longer))
    )

"""Flags of answers: what is struck and what is only said."""

from __future__ import annotations

import pytest

from mindprint.evals.degeneracy import flags_of, hard_flags, leaked, loops, tail_loops

PROSE = (
    "The lamp was lit at dusk by Old Marn, who carried the oil up ninety steps, and on most nights "
    "the tide was in before the wick had caught. He said that a lamp is a promise, and that a "
    "promise is kept with oil and patience, never with words alone."
)
POEM = "Row, row, row your boat, gently down the stream. Merrily, merrily, merrily, merrily."


def flags(
    text: str, *, raw: str | None = None, ids: int = 5, stop: str = "stop"
) -> tuple[str, ...]:
    return flags_of(text, text if raw is None else raw, range(ids), stop)


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (flags("Whale oil."), ()),
        (flags("", ids=0), ("empty", "ended at once")),
        (flags(" \n", ids=2), ("empty",)),
        (flags("", ids=0, stop="length"), ("empty", "ran to the limit")),
        (flags(PROSE, stop="length"), ("ran to the limit",)),
        (flags("the lamp " * 20, stop="length"), ("ran to the limit", "loops")),
        (flags("Oil.", raw="Oil.<|user|>"), ("leaks special tokens",)),
        (flags("Oil. <|im_start|>"), ("leaks special tokens",)),
        (flags("Oil.</s>"), ("leaks special tokens",)),
        (flags("", raw="<|pad|>", ids=1), ("empty", "leaks special tokens")),
    ],
)
def test_flags(found: tuple[str, ...], expected: tuple[str, ...]) -> None:
    assert found == expected


def test_the_limit_alone_is_no_strike() -> None:
    every = ("empty", "ended at once", "ran to the limit", "loops", "leaks special tokens")
    assert hard_flags(every) == tuple(flag for flag in every if flag != "ran to the limit")


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (PROSE, False),
        (POEM, False),
        ("No, no, no.", False),
        ("Ha ha ha ha!", False),
        ("It is oil, " + "very " * 12, True),
        (PROSE + " I said it." * 3, False),  # 9 words, far from a third of the answer
        ("Oil. " + "I said it so. " * 4, True),
        ("one two three four " * 8 + "five", True),
        ("2 4 6 8 10 12 14 16 18 20 22 24", False),
    ],
)
def test_loops(text: str, found: bool) -> None:
    assert loops(text) is found


@pytest.mark.parametrize(
    ("units", "found"),
    [
        ([1, 2, 3] * 3, True),
        ([9, 8, 1, 2, 3, 1, 2, 3, 1, 2, 3], True),
        ([9, 8, 1, 2, 3, 1, 2, 3, 1, 2, 3, 1], True),  # cut amid a repetition
        ([1, 2, 3, 1, 2, 3, 1, 2], False),  # not three times over
        ([7] * 8, False),  # too short to be told from emphasis
        ([7] * 9, True),
        ([*range(30), *[7] * 9], False),  # less than a third
        ([], False),
    ],
)
def test_tail_loops(units: list[int], found: bool) -> None:
    assert tail_loops(units) is found


def test_ids_loop_where_the_words_do_not_show_it() -> None:
    assert loops("hahahahahahahahahahaha", [4, 5] * 11)


def test_what_leaked_is_named() -> None:
    assert leaked("a", "a<|user|>b[tool]", ("<|user|>", "[tool]", "")) == ("<|user|>", "[tool]")
    assert leaked("a", "a\u2581", ()) == ("special tokens",)
    assert leaked("1 < 2 and [this]", "1 < 2 and [this]", ("<|user|>",)) == ()

"""Flags of answers: what is struck and what is only said, and when a stage fails for it."""

from __future__ import annotations

import zlib

import numpy as np
import pytest
from scipy.stats import binom

from mindprint.evals.degeneracy import FEWEST, RATIO, Flags, Limits, fails, flags_of, leaked, loops
from mindprint.evals.repetition import REP_4, compression, pieces, rep_4, tail_loops

PROSE = (
    "The lamp was lit at dusk by Old Marn, who carried the oil up ninety steps, and on most nights "
    "the tide was in before the wick had caught. He said that a lamp is a promise, and that a "
    "promise is kept with oil and patience, never with words alone."
)
POEM = "Row, row, row your boat, gently down the stream. Merrily, merrily, merrily, merrily."


def flags(
    text: str,
    *,
    raw: str | None = None,
    ids: int = 5,
    stop: str = "stop",
    special: tuple[str, ...] = (),
) -> Flags:
    return flags_of(text, text if raw is None else raw, range(ids), stop, special)


@pytest.mark.parametrize(
    ("found", "hard", "soft"),
    [
        (flags("Whale oil."), (), ()),
        (flags("", ids=0), ("empty", "ended at once"), ()),
        (flags(" \n", ids=2), ("empty",), ()),
        (flags("", ids=0, stop="length"), ("empty",), ("ran to the limit",)),
        (flags(PROSE, stop="length"), (), ("ran to the limit",)),
        (flags("the lamp " * 20, stop="length"), ("loops to the limit",), ("repeats",)),
        (flags("the lamp " * 20), (), ("repeats", "loops")),
        (flags("Oil.", raw="Oil.<|user|>"), ("leaks special tokens",), ()),
        (flags("Oil. <|im_start|>"), ("leaks special tokens",), ()),
        (flags("<s>Oil</s> and wood."), (), ()),
        (flags("Oil.</s>", special=("</s>",)), ("leaks special tokens",), ()),
        (flags("Oil.[/INST]"), ("leaks special tokens",), ()),
        (flags("<start_of_turn>Oil."), ("leaks special tokens",), ()),
        (flags("", raw="<|pad|>", ids=1), ("empty", "leaks special tokens"), ()),
    ],
)
def test_flags(found: Flags, hard: tuple[str, ...], soft: tuple[str, ...]) -> None:
    assert found == Flags(hard, soft)


@pytest.mark.parametrize(
    ("words", "reference", "soft"),
    [
        (2, 20, ()),  # a tenth is not below a tenth
        (1, 20, ("short",)),
        (20, 4, ()),
        (21, 4, ("long",)),
        (200, 0, ()),  # no reference, no length to keep
    ],
)
def test_length_goes_by_the_reference(words: int, reference: int, soft: tuple[str, ...]) -> None:
    text = " ".join(f"w{place}" for place in range(words))
    found = flags_of(text, text, range(3), "stop", (), reference, Limits(ratio=99))
    assert found == Flags((), soft)


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


def test_rep_4_is_the_share_of_grams_said_before() -> None:
    # 17 words, 14 grams; the last 4 (one two three four to four five six seven) stand before.
    text = "one two three four five six seven eight nine ten one two three four five six seven"
    assert rep_4(text) == pytest.approx(4 / 14)
    assert rep_4("one two three four five six seven eight nine ten one two three four") is None


def test_compression_is_of_the_worst_window() -> None:
    assert compression(PROSE[:199]) is None
    first = PROSE[:200].encode()
    assert compression(PROSE[:200]) == len(first) / len(zlib.compress(first))
    # The loop fills the last 200 characters only.
    tail = "so it is " * 30
    assert compression(PROSE + tail) == len(tail[-200:]) / len(zlib.compress(tail[-200:].encode()))
    assert (compression(PROSE) or 9) < RATIO < (compression(PROSE + tail) or 0)


def test_essays_are_cut_into_pieces_of_an_answers_size() -> None:
    essay = " ".join(f"w{place}" for place in range(430))
    cut = list(pieces(essay))
    assert [len(piece.split()) for piece in cut] == [107, 108, 107, 108]
    assert " ".join(cut) == essay
    assert list(pieces("Short.")) == ["Short."]
    assert list(pieces(" \n")) == []


def test_limits_are_the_authors_99th_percentile() -> None:
    rng = np.random.default_rng(0)
    words = [f"w{place}" for place in range(60)]
    texts = [" ".join(rng.choice(words, size=60)) for _ in range(50)]
    limits = Limits.of(texts)
    # Every text is one piece, shorter than an essay's.
    assert limits.rep_4 == pytest.approx(np.percentile([rep_4(text) for text in texts], 99))
    assert limits.ratio == pytest.approx(np.percentile([compression(text) for text in texts], 99))
    assert limits.pieces == 50
    above = [text for text in texts if (compression(text) or 0) > limits.ratio]
    assert len(above) == 1  # of 50, by the meaning of a 99th percentile


def test_too_little_writing_leaves_the_constants() -> None:
    assert Limits.of([PROSE] * (FEWEST - 1)) == Limits(REP_4, RATIO, 0)
    assert Limits.of([]) == Limits()
    # Answers below a window say nothing of compression, however many they are.
    assert Limits.of(["Whale oil and patience."] * 99) == Limits(REP_4, RATIO, 0)


def test_what_leaked_is_named() -> None:
    assert leaked("a", "a<|user|>b[tool]", ("<|user|>", "[tool]", "")) == ("<|user|>", "[tool]")
    assert leaked("a", "a\u2581", ()) == ("special tokens",)
    assert leaked("1 < 2 and [this]", "1 < 2 and [this]", ("<|user|>",)) == ()


def marked(broken: int, total: int) -> list[tuple[str, ...]]:
    return [("empty",)] * broken + [()] * (total - broken)


def test_a_stage_fails_for_broken_answers_in_words() -> None:
    hard = [("empty", "ended at once"), ("empty",), ("leaks special tokens",), *[()] * 10]
    # P(3 or more of 13 at 2 %)
    assert binom.sf(2, 13, 0.02) == pytest.approx(0.002, abs=5e-4)
    assert fails(hard, marked(0, 13)) == (
        "3 of 13 answers are broken (empty 2, ended at once 1, leaks special tokens 1), "
        "more than 2 % beyond chance (p = 0.002)"
    )
    assert fails(marked(12, 12), marked(3, 12)).endswith("(p < 0.001)")


@pytest.mark.parametrize(
    ("after", "before"),
    [
        (marked(0, 12), marked(0, 12)),
        (marked(1, 3), marked(0, 3)),  # one answer is an accident
        (marked(4, 12), marked(4, 12)),  # no worse than it was
        (marked(4, 12), marked(6, 13)),
        (marked(2, 40), marked(0, 40)),  # p = 0.19
        ([], []),
    ],
)
def test_a_stage_that_broke_nothing_does_not_fail(
    after: list[tuple[str, ...]], before: list[tuple[str, ...]]
) -> None:
    assert fails(after, before) == ""


@pytest.mark.parametrize(("total", "fewest"), [(12, 2), (13, 2), (40, 3), (60, 4), (200, 8)])
def test_how_many_broken_answers_fail_a_stage(total: int, fewest: int) -> None:
    failing = [count for count in range(total + 1) if fails(marked(count, total), ())]
    assert failing == list(range(fewest, total + 1))
    # The exact test, not its normal approximation.
    assert (
        binom.sf(fewest - 1, total, 0.02)
        < 0.05
        <= max(binom.sf(fewest - 2, total, 0.02), 0.05 if fewest == 2 else 0)
    )

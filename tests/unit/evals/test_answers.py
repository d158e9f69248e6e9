"""Answers judged one by one and together: worked examples."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mindprint.curriculum.records import Marker, QuizItem, Source, Voice
from mindprint.errors import StageError
from mindprint.evals.answers import Judged, judge, summarise, with_pick
from mindprint.evals.choice import Pick, choice_accuracy, corrected, pick
from mindprint.evals.quiz import score_answer

AT = Source("quiz.jsonl", 1)
VOICE = Voice(
    markers=(Marker("oaths", (r"\bby the tide\b",), (1, 1)),),
    never_claims=("the moon is made of cheese",),
    never_phrases=("as an AI",),
)
LAMP = QuizItem(
    "What feeds the lamp, and who?", "Whale oil; Old Marn.",
    key_points=(("whale oil", "oil of whales"), ("Old Marn", "Marn")),
    forbidden=("the lamp burns wood",), choices=(), answer=None, source=AT,
)  # fmt: skip
TREE = QuizItem("Which tree?", "red oak", (), (), ("ash", "red oak", "oak", "elm"), 1, AT)


@pytest.mark.parametrize(
    ("text", "score"),
    [
        ("Whale oil, and Old Marn feeds it.", 1.0),
        ("WHALE-OIL! Marn.", 1.0),
        ("The oil of the whales? No.", 0.5),
        ("Oil of whales, by Marn", 1.0),
        ("Whale oil.", 0.5),
        ("Marnie brings whale oils.", 0.0),
        ("Wood.", 0.0),
        ("", 0.0),
        ("Marn and whale oil, though the lamp burns wood.", 0.0),
        ("Whale oil, though the lamp burns wood.", 0.0),
    ],
)
def test_key_points_less_forbidden_claims(text: str, score: float) -> None:
    assert score_answer(LAMP, text)[0] == pytest.approx(score)


def test_each_forbidden_claim_costs_its_share_of_the_items_own() -> None:
    two = replace(LAMP, forbidden=("the lamp burns wood", "the lamp is out"))
    # 2 of 2 points, less 1 of the item's 2 claims; the voice's own claims do not thin that out
    told, reasons = score_answer(two, "Marn, whale oil. The lamp burns wood.", ("a", "b", "c"))
    assert told == pytest.approx(0.5)
    assert reasons == ("forbidden claim made: `the lamp burns wood`",)


def test_what_the_author_never_claims_strikes_the_answer() -> None:
    text = "Marn, whale oil. The moon is made of cheese."
    told, reasons = score_answer(LAMP, text, VOICE.never_claims)
    assert told == 0.0
    assert reasons == ("the author never claims: `the moon is made of cheese`",)


def test_missing_key_points_are_named() -> None:
    assert score_answer(LAMP, "Nothing.")[1] == (
        "key point missing: `whale oil`",
        "key point missing: `Old Marn`",
    )


@pytest.mark.parametrize(
    ("text", "score"),
    [("It is red oak.", 1.0), ("Oak.", 0.0), ("Red oak or ash.", 0.5), ("Ash or elm.", 0.0)],
)
def test_a_choice_item_asks_for_its_right_choice(text: str, score: float) -> None:
    # Forbidden are ash and elm; `oak` is said with `red oak` and cannot be.
    assert score_answer(TREE, text)[0] == pytest.approx(score)


def judged(text: str, *, raw: str | None = None, ids: int = 9, stop: str = "stop") -> Judged:
    return judge(LAMP, VOICE, text, text if raw is None else raw, range(ids), stop)


RIGHT = "By the tide, Old Marn feeds it whale oil."


@pytest.mark.parametrize(
    ("one", "accuracy", "voice", "flags"),
    [
        (judged(RIGHT), 1.0, 1.0, ()),
        (judged("Old Marn feeds it whale oil."), 1.0, 0.0, ()),
        (judged("By the tide, who knows."), 0.0, 1.0, ()),
        (judged(RIGHT + " By the tide."), 1.0, 0.5, ()),
        (judged("As an AI: " + RIGHT), 1.0, 0.5, ()),
        (judged(RIGHT + " The moon is made of cheese."), 0.0, 1.0, ()),
        (judged(RIGHT, stop="length"), 1.0, 1.0, ("ran to the limit",)),
        (judged("", ids=0), 0.0, 0.0, ("empty", "ended at once")),
        (judged(RIGHT, raw=RIGHT + "<|user|>"), 0.0, 0.0, ("leaks special tokens",)),
        (judged(RIGHT + " Aye so." * 20), 0.0, 0.0, ("loops",)),
    ],
)
def test_judge(one: Judged, accuracy: float, voice: float, flags: tuple[str, ...]) -> None:
    assert (one.accuracy, one.voice) == pytest.approx((accuracy, voice))
    assert one.flags == flags
    struck = bool(flags) and flags != ("ran to the limit",)
    assert bool(one.reasons and one.reasons[0].startswith("scores 0 in both: ")) is struck


def test_a_struck_answer_says_why_and_keeps_what_it_holds() -> None:
    one = judged(RIGHT, raw=RIGHT + "<|user|>")
    assert one.reasons[0] == "scores 0 in both: leaks special tokens (`<|user|>`)"
    assert (one.found, one.points, one.marks) == (2, 2, 1)


def test_summarise_takes_means() -> None:
    score = summarise([judged(RIGHT), judged("Whale oil."), judged("", ids=0)])
    assert score.accuracy == pytest.approx((1 + 0.5 + 0) / 3)
    assert score.voice == pytest.approx((1 + 0 + 0) / 3)
    assert score.degenerate == pytest.approx(1 / 3)
    assert (score.questions, score.choice_accuracy) == (3, None)
    assert score.reasons == ("1 of 3 answers struck: empty (1), ended at once (1)",)


def test_a_zero_has_its_reason_in_words() -> None:
    score = summarise([judged("", ids=0)] * 12)
    assert score.reasons == (
        "accuracy 0.00: none of 24 key points found in 12 answers; "
        "most frequent flag: empty (12 of 12)",
        "voice 0.00: none of 12 answers holds any marker; most frequent flag: empty (12 of 12)",
    )
    struck = summarise([judged(RIGHT, raw=RIGHT + "<|user|>")] * 2)
    assert struck.reasons == (
        "accuracy 0.00: 4 of 4 key points found in 2 answers; "
        "most frequent flag: leaks special tokens (2 of 2)",
        "voice 0.00: 2 of 2 answers hold markers, and each is struck; "
        "most frequent flag: leaks special tokens (2 of 2)",
    )
    wrong = summarise([judged("By the tide, the lamp burns wood.")])
    assert wrong.reasons == (
        "accuracy 0.00: none of 2 key points found in 1 answers, 1 forbidden claims made",
    )


def test_no_answer_is_an_error_and_no_zero() -> None:
    with pytest.raises(StageError, match="no answer to score"):
        summarise([])


@pytest.mark.parametrize(
    ("rate", "chance", "expected"),
    [(1.0, 0.25, 1.0), (0.25, 0.25, 0.0), (0.625, 0.25, 0.5), (0.1, 0.25, 0.0), (0.5, 1.0, 0.0)],
)
def test_correction_for_chance(rate: float, chance: float, expected: float) -> None:
    assert corrected(rate, chance) == pytest.approx(expected)


def test_the_likeliest_choice_is_per_character() -> None:
    # Per character: ash -9/3 = -3, red oak -14/7 = -2, oak -9/3 = -3, elm -12/3 = -4.
    found = pick([-9.0, -14.0, -9.0, -12.0], TREE.choices, 1)
    assert (found.picked, found.right, found.chance) == (1, True, 0.25)
    assert found.scores == pytest.approx((-3, -2, -3, -4))
    assert pick([-3.0, -7.0, -3.0, -9.0], TREE.choices, 1).picked == 0  # of equals the first
    with pytest.raises(StageError, match="not finite"):
        pick([float("nan"), -1.0, -1.0, -1.0], TREE.choices, 1)


def test_choices_join_key_points_in_a_topics_accuracy() -> None:
    right, wrong = Pick(1, 1, (-2.0, -1.0)), Pick(0, 1, (-1.0, -2.0))
    # 3 of 4 right at chance 1/2: (0.75 - 0.5) / 0.5 = 0.5.
    picks = [right, right, right, wrong]
    assert choice_accuracy(picks) == pytest.approx(0.5)
    answers = [judged(RIGHT), judged("Whale oil."), *[judged(RIGHT)] * 4]
    score = summarise(answers, [None, None, *picks])
    # (1 + 0.5 + 4 * 0.5) / 6
    assert score.accuracy == pytest.approx(3.5 / 6)
    assert score.choice_accuracy == pytest.approx(0.5)
    assert summarise([judged(RIGHT)] * 2, [right, wrong]).reasons == (
        "accuracy 0.00: 1 of 2 choices right, no better than chance",
    )


def test_a_picked_answer_says_what_was_likeliest() -> None:
    one = judge(TREE, VOICE, RIGHT, RIGHT, range(9), "stop")
    marked = with_pick(one, TREE, Pick(0, 1, (-1.0, -2.0, -3.0, -4.0)))
    assert marked.accuracy == 0.0
    assert marked.reasons[0] == "likeliest choice: `ash`; right is `red oak`"
    assert with_pick(one, TREE, Pick(1, 1, (-2.0, -1.0))).accuracy == 1.0

"""Answers judged one by one and together: worked examples."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mindprint.curriculum.records import Marker, QuizItem, Source, Voice
from mindprint.errors import StageError
from mindprint.evals.answers import judge, linear, summarise, with_pick
from mindprint.evals.degeneracy import Limits
from mindprint.evals.quiz import recall
from mindprint.evals.stats import mean_interval
from mindprint.report.scores import Answer, ChoicePick, Score

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
COIN = QuizItem("Which side?", "heads", (), (), ("tails", "heads"), 1, AT)
RIGHT = "By the tide, Old Marn feeds it whale oil."


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
    assert recall(LAMP, text).accuracy == pytest.approx(score)


def test_each_forbidden_claim_costs_its_share_of_the_items_own() -> None:
    two = replace(LAMP, forbidden=("the lamp burns wood", "the lamp is out"))
    # 2 of 2 points, less 1 of the item's 2 claims; the voice's own claims do not thin that out
    told = recall(two, "Marn, whale oil. The lamp burns wood.", ("a", "b", "c"))
    assert told.accuracy == pytest.approx(0.5)
    assert told.reasons == ("forbidden claim made: `the lamp burns wood`",)


def test_missing_key_points_are_named() -> None:
    assert recall(LAMP, "Nothing.").reasons == (
        "key point missing: `whale oil`",
        "key point missing: `Old Marn`",
    )


def test_a_forbidden_claim_is_never_read_as_a_misspelt_key_point() -> None:
    item = replace(LAMP, key_points=(("Marchbanks",),), forbidden=("Marchbank",))
    assert recall(item, "Old Marchbank.").found == 0
    assert recall(item, "Old Marchbankes.").found == 1


def judged(
    text: str, *, raw: str | None = None, ids: int = 9, stop: str = "stop", item: QuizItem = LAMP
) -> Answer:
    return judge(item, VOICE, text, text if raw is None else raw, range(ids), stop)


def summary(*answers: Answer, item: QuizItem = LAMP) -> Score:
    """The score of answers to as many different questions."""
    items = [replace(item, cluster=place) for place in range(len(answers))]
    return summarise(items, answers, resamples=200)


def test_an_answer_carries_what_it_was_judged_by() -> None:
    one = judged("Whale oil; Marn. Marn!")
    # Against the four words of the reference: 3 shared, of 4 said and 4 wanted.
    assert (one.words, one.exact) == (4, False)
    assert one.f1 == pytest.approx(3 / 4)
    assert judged("WHALE OIL, old Marn").exact
    struck = judged(RIGHT, raw=RIGHT + "<|user|>")
    assert (struck.found, struck.points, struck.marks) == (2, 2, 1)
    claiming = judged("The lamp burns wood. The moon is made of cheese.")
    assert claiming.claimed == 2


def test_the_authors_limits_are_the_judges() -> None:
    text = "one two three four five six seven eight nine ten one two three four five six seven"
    plain = judge(LAMP, VOICE, text, text, range(9), "stop", limits=Limits(rep_4=0.5))
    strict = judge(LAMP, VOICE, text, text, range(9), "stop", limits=Limits(rep_4=0.1))
    # 14 word 4-grams, 4 of them said before
    assert ("repeats" in plain.soft, "repeats" in strict.soft) == (False, True)


def test_summarise_takes_means() -> None:
    score = summary(judged(RIGHT), judged("Whale oil."), judged("", ids=0))
    assert score.accuracy == pytest.approx((1 + 0.5 + 0) / 3)
    assert score.voice == score.markers == pytest.approx(1 / 3)
    assert score.voice_by == "markers"
    assert score.degenerate == pytest.approx(1 / 3)
    assert (score.questions, score.clusters, score.choice_accuracy) == (3, 3, None)
    # 8, 2 and 0 words (articles are none), against 4 each
    assert score.words == pytest.approx(10 / 3)
    assert score.length == pytest.approx(10 / 12)
    assert score.voiced == pytest.approx(1 / 3)
    assert score.claimed == 0
    assert score.reasons == ("1 of 3 answers struck: empty (1), ended at once (1)",)


def test_intervals_are_those_of_the_clusters() -> None:
    answers = [judged(RIGHT), judged("Whale oil."), judged("Wood."), judged(RIGHT)]
    clusters = (0, 0, 1, 2)
    items = [replace(LAMP, cluster=cluster) for cluster in clusters]
    score = summarise(items, answers, seed=3, resamples=500)
    expected = mean_interval([1, 0.5, 0, 1], clusters, seed=3, resamples=500)
    assert score.clusters == 3
    assert score.accuracy_interval == (expected.low, expected.high)
    assert score.voice_interval == score.markers_interval
    assert expected.low < score.accuracy < expected.high


def test_questions_of_two_files_are_no_phrasings_of_one() -> None:
    other = replace(LAMP, source=Source("other.jsonl", 1))
    assert summarise([LAMP, other], [judged(RIGHT)] * 2).clusters == 2


def test_measures_are_means_over_the_answers_that_have_them() -> None:
    with_loss = judged(RIGHT).model_copy(update={"nll": 2.0, "first_stop": 0.5})
    score = summary(with_loss, judged(RIGHT), with_loss.model_copy(update={"nll": 1.0}))
    assert (score.nll, score.first_stop) == (1.5, 0.5)
    assert (summary(judged(RIGHT)).nll, summary(judged(RIGHT)).first_stop) == (None, None)


def test_soft_flags_are_shares() -> None:
    cut = judged(RIGHT, stop="length")
    score = summary(cut, cut, judged(RIGHT), judged("Marn " * 30))
    # 30 words are over five times the reference's 4
    assert score.soft == {
        "long": 0.25, "loops": 0.25, "ran to the limit": 0.5, "repeats": 0.25
    }  # fmt: skip
    assert score.degenerate == 0


def test_a_zero_has_its_reason_in_words() -> None:
    score = summary(*[judged("", ids=0)] * 12)
    assert score.reasons == (
        "accuracy 0.00: none of 24 key points found in 12 answers; "
        "most frequent flag: empty (12 of 12)",
        "voice 0.00: none of 12 answers holds any marker; most frequent flag: empty (12 of 12)",
    )
    struck = summary(*[judged(RIGHT, raw=RIGHT + "<|user|>")] * 2)
    assert struck.reasons == (
        "accuracy 0.00: 4 of 4 key points found in 2 answers; "
        "most frequent flag: leaks special tokens (2 of 2)",
        "voice 0.00: 2 of 2 answers hold markers, and each is struck; "
        "most frequent flag: leaks special tokens (2 of 2)",
    )
    wrong = summary(judged("By the tide, the lamp burns wood."))
    assert wrong.reasons == (
        "accuracy 0.00: none of 2 key points found in 1 answer, 1 forbidden claim made",
    )
    cut = summary(judged("By the tide, who knows", stop="length"))
    assert cut.reasons[0].endswith("; most frequent flag: ran to the limit (1 of 1)")


def test_no_answer_is_an_error_and_no_zero() -> None:
    with pytest.raises(StageError, match="no answer to score"):
        summarise([], [])
    with pytest.raises(ValueError, match="2 questions for 1 answers"):
        summarise([LAMP] * 2, [judged(RIGHT)])


def picked(by_character: int, choices: int = 2) -> ChoicePick:
    return ChoicePick(by_sum=1, by_character=by_character, by_byte=0, answer=1, choices=choices)


def test_choices_join_key_points_in_a_topics_accuracy() -> None:
    told = [judged(RIGHT), judged("Whale oil.")]
    made = [with_pick(judged(RIGHT), COIN, picked(place)) for place in (1, 1, 1, 0)]
    score = summary(*told, *made)
    # 3 of 4 right at chance 1/2 is 0.5: (1 + 0.5 + 4 * 0.5) / 6
    assert score.accuracy == pytest.approx(3.5 / 6)
    assert score.choice_accuracy == pytest.approx(0.5)
    assert (score.choice_by_sum, score.choice_by_character, score.choice_by_byte) == (1, 0.75, 0)
    # A right choice is worth 1 and a wrong one -1, which has the same mean.
    assert linear([*told, *made]) == [1, 0.5, 1, 1, 1, -1]
    assert sum(linear([*told, *made])) / 6 == pytest.approx(score.accuracy)


def test_choices_below_chance_count_as_nothing() -> None:
    made = [with_pick(judged(RIGHT), COIN, picked(place)) for place in (0, 0, 0, 1)]
    score = summary(judged("Whale oil."), *made)
    assert score.accuracy == pytest.approx(0.5 / 5)
    assert score.choice_accuracy == 0
    low, high = score.accuracy_interval or (1, 0)
    assert low == 0 <= score.accuracy <= high
    assert summary(*made[2:]).reasons == (
        "accuracy 0.00: 1 of 2 choices right, no better than chance",
    )


def test_a_picked_answer_says_what_was_likeliest() -> None:
    wrong = ChoicePick(by_sum=1, by_character=0, by_byte=1, answer=1, choices=4)
    marked = with_pick(judged(RIGHT, item=TREE), TREE, wrong)
    assert (marked.accuracy, marked.pick) == (0.0, wrong)
    assert marked.reasons[0] == "likeliest choice: `ash`; right is `red oak`"


def test_a_strike_leaves_the_choice_and_says_so() -> None:
    right = ChoicePick(by_sum=0, by_character=1, by_byte=0, answer=1, choices=4)
    marked = with_pick(judged("", ids=0, item=TREE), TREE, right)
    assert (marked.accuracy, marked.voice) == (1.0, 0.0)
    assert marked.reasons[:2] == (
        "likeliest choice: `red oak`; right",
        "voice struck to 0: empty, ended at once",
    )

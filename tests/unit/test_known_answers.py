"""Answers whose worth a person can say by reading them, each with what it must score."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from mindprint.curriculum.records import Distinction, Marker, QuizItem, Source, Voice
from mindprint.evals.answers import collapsed, judge, with_pick
from mindprint.evals.choice import pick
from mindprint.report.scores import Answer

AT = Source("quiz.jsonl", 1)
VOICE = Voice(
    markers=(
        Marker("oaths", (r"\bby wax and twine\b",), (1, 2)),
        Marker("endearments", (r"\bmy duck\b", r"\bpetal\b"), (1, 1)),
    ),
    never_claims=("the post may wait",),
    distinctions=(
        Distinction("bell", "The bell came from a cow.", ("the bell came from a goat",)),
    ),
    never_phrases=("as an ai",),
)


def item(reference: str, *points: tuple[str, ...], forbidden: tuple[str, ...] = ()) -> QuizItem:
    return QuizItem("?", reference, points, forbidden, (), None, AT)


PAN = item(
    "The pan of the brass scale is lined with billiard cloth.",
    ("billiard cloth", "baize"),
    forbidden=("velvet",),
)
NICK = item(
    "The nick was cut by Colonel Pomfret's sabre.",
    ("Colonel Pomfret", "Pomfret", "Pomfret's"),
    ("sabre",),
    forbidden=("the butcher", "a cleaver"),
)
HOUR = item("It opens at ten past seven.", ("ten past seven", "7:10"))
YEAR = item("It was built in 1886.", ("1886",))
COUNT = item("There are 1,200 letters.", ("1,200", "twelve hundred"))
DEPTH = item("Three fathoms.", ("3", "three"))
DUTY = item("She is responsible.", ("responsible",))
KNOT = item("The widow's hitch.", ("widow's hitch",))
INN = item("At the Café Übermut.", ("Café Übermut",))
TALE = item(" ".join(f"word{n}" for n in range(28)) + " billiard cloth.", ("billiard cloth",))
TREE = QuizItem("Which tree?", "red oak", (), (), ("ash", "red oak", "oak", "elm"), 1, AT)

# 37 and 52 words without articles; the reference of PAN has 9, and five times that are 45.
WORDY = (
    "It is an old question, and people who come to our counter ask it often: what lies under all "
    "those coins? I looked there myself one winter morning while Crispin swept, and found billiard "
    "cloth, green as moss."
)
ENDLESS = (
    f"{WORDY} Afterwards he told everybody in Gallowmere, from bakers to bishops, how every penny "
    "landed softly."
)


@dataclass(frozen=True)
class Known:
    """An answer and its worth: `voice` goes by the two categories of VOICE, 0.5 each."""

    name: str
    text: str
    accuracy: float
    voice: float = 0.0
    flags: tuple[str, ...] = ()
    soft: tuple[str, ...] = ()
    item: QuizItem = PAN
    reason: str = ""
    raw: str | None = None
    ids: tuple[int, ...] = tuple(range(7))
    stop: str = "stop"


KNOWN = [
    # Right, wrong, and in between.
    Known("right", "It is lined with billiard cloth.", 1),
    Known("right-in-voice", "By wax and twine, my duck, it is billiard cloth.", 1, 1),
    Known("half-a-voice", "Billiard cloth, petal.", 1, 0.5),
    Known("wrong", "Leather.", 0, reason="key point missing: `billiard cloth`"),
    Known("one-point-of-two", "With a sabre.", 0.5, item=NICK),
    Known("verbose", WORDY, 1),
    Known("too-long", ENDLESS, 1, soft=("long",)),
    Known("too-short", "Billiard cloth.", 1, item=TALE, soft=("short",)),
    # Other words, other spellings.
    Known("alias", "Baize.", 1),
    Known("capitals-and-hyphen", "BILLIARD-CLOTH!", 1),
    Known("bold", "It is **billiard cloth**.", 1),
    Known("full-width", "ｂｉｌｌｉａｒｄ　ｃｌｏｔｈ", 1),
    Known("curly-apostrophe", "The widow’s hitch", 1, item=KNOT),
    Known("decomposed-accents", "At the cafe\u0301 u\u0308bermut", 1, item=INN),
    Known(
        "misspelt", "It is biliard cloth.", 1,
        reason="key point `billiard cloth` read from `biliard cloth`",
    ),
    Known("misspelt-past-knowing", "It is bilyard clothes.", 0),
    Known("misspelt-and-short", "Pomfret's saber.", 0.5, item=NICK),
    Known("part-of-a-word", "Billiard clothing.", 0),
    Known("words-out-of-order", "Cloth for billiard tables.", 0),
    Known("another-first-letter", "She is irresponsible.", 0, item=DUTY),
    Known("possessive-without-an-alias", "Marta's.", 0, item=item("Marta.", ("Marta",))),
    Known("plural-of-a-long-word", "Barometers.", 1, item=item("One.", ("barometer",))),
    # Numbers are never read as others.
    Known("year", "In 1886.", 1, item=YEAR),
    Known("year-before", "In 1885.", 0, item=YEAR),
    Known("thousands-bare", "About 1200 of them.", 1, item=COUNT),
    Known("thousands-with-comma", "1,200, my duck.", 1, 0.5, item=COUNT),
    Known("thousands-other", "12,000.", 0, item=COUNT),
    Known("decimal", "It is 3.5 fathoms.", 0, item=DEPTH),
    Known("time-of-day", "At 7:10 sharp.", 1, item=HOUR),
    # Denied, and denied twice.
    Known("denied", "It is not billiard cloth.", 0, reason="key point negated: `billiard cloth`"),
    Known("denied-by-contraction", "It isn't lined with billiard cloth.", 0),
    Known("denied-by-curly-contraction", "It isn’t billiard cloth.", 0),
    Known("denied-by-nor", "It is neither leather nor billiard cloth.", 0),
    Known("denied-misspelt", "It is never biliard cloth.", 0),
    Known("denied-twice", "It is not without billiard cloth.", 1),
    Known("denied-then-said", "Not billiard cloth? Yes, billiard cloth!", 1),
    Known("denial-of-another", "It is not leather but billiard cloth.", 1),
    Known("denial-in-another-clause", "No, it is billiard cloth.", 1),
    Known("denial-out-of-reach", "Never in my long years but here: billiard cloth.", 1),
    Known("not-only", "It has not only billiard cloth.", 1),
    Known("no-doubt", "No doubt billiard cloth.", 1),
    Known("not-until", "It did not open until ten past seven.", 1, item=HOUR),
    # Claims that must not be made.
    Known("forbidden", "Billiard cloth and velvet.", 0, reason="forbidden claim made: `velvet`"),
    Known("forbidden-alone", "Velvet.", 0),
    Known("one-forbidden-of-two", "Pomfret's sabre, or the butcher.", 0.5, item=NICK),
    Known("both-forbidden", "Pomfret's sabre, or the butcher with a cleaver.", 0, item=NICK),
    Known("forbidden-denied", "Billiard cloth, not velvet.", 1),
    Known("forbidden-denied-in-bold", "Billiard cloth, not **velvet**.", 1),
    Known("forbidden-set-aside", "Billiard cloth rather than velvet.", 1),
    Known("forbidden-denied-twice", "Billiard cloth, and it is not without velvet.", 0),
    Known("forbidden-not-only", "Billiard cloth, and not only velvet.", 0),
    Known("forbidden-misspelt", "Billiard cloth or velvit.", 1),
    Known(
        "never-claim", "Billiard cloth, and the post may wait.", 0,
        reason="the author never claims: `the post may wait`",
    ),
    Known("never-claim-denied", "Billiard cloth, and never say the post may wait.", 1),
    Known(
        "distinction-confused", "Billiard cloth, and the bell came from a goat.", 0,
        reason="confuses `bell`: says `the bell came from a goat` "
        "(the author: `The bell came from a cow.`)",
    ),
    Known("distinction-kept", "Billiard cloth, and the bell came from a cow.", 1),
    Known("every-choice-said", "Ash, red oak, elm.", 0, item=TREE),
    Known("one-wrong-choice-said", "Red oak or ash.", 0.5, item=TREE),
    # Voice without content, and too much of it: 3 oaths where 2 do, 2 endearments where 1 does.
    Known("voice-without-content", "By wax and twine, petal, leather.", 0, 1),
    Known(
        "markers-stuffed",
        "By wax and twine, by wax and twine, by wax and twine, my duck, my duck.",
        0, (2 / 3 + 1 / 2) / 2,
        reason="oaths: 3 found, 1 to 2 expected",
    ),
    Known("markers-chanted", "My duck, " * 10, 0, 0.1 / 2, soft=("repeats", "loops")),
    Known("never-phrase", "As an AI, by wax and twine, petal: billiard cloth.", 1, 0.5),
    # No answer at all.
    Known("empty", "", 0, flags=("empty", "ended at once"), ids=()),
    Known("whitespace", " \n", 0, flags=("empty",), ids=(1, 2)),
    Known(
        "nothing-to-the-limit", "", 0, flags=("empty",), soft=("ran to the limit",), stop="length"
    ),
    Known("ended-at-once", "", 0, flags=("empty", "ended at once"), ids=(), item=TALE),
    Known(
        "loops-to-the-limit", "Billiard cloth is " * 20, 0, flags=("loops to the limit",),
        soft=("long", "repeats", "compressible"), stop="length",
        reason="scores 0 in both: loops to the limit",
    ),
    Known(
        "loop-that-ended", "Billiard cloth. " + "I said it so. " * 4, 1, soft=("repeats", "loops")
    ),
    Known("cut-at-the-limit", "It is billiard cloth", 1, soft=("ran to the limit",), stop="length"),
    Known(
        "tokens-loop", "Billiard cloth hahahaha", 0, flags=("loops to the limit",),
        ids=(9, 8, *(4, 5) * 9), stop="length",
    ),
    Known(
        "leaked-token", "Billiard cloth.", 0, flags=("leaks special tokens",),
        raw="Billiard cloth.<|user|>",
        reason="scores 0 in both: leaks special tokens (`<|user|>`)",
    ),
    Known(
        "leaked-in-letters", "Billiard cloth.<|user|>", 0, flags=("leaks special tokens",)
    ),
    Known("struck-out-in-html", "<s>Leather.</s> Billiard cloth.", 1),
]  # fmt: skip


# What the key point is, what is said, and whether it is read as meant.
NEARLY = [
    ("billiard", "biliard", True),
    ("Temperance", "Temperence", True),
    ("Pomfret", "Pomfrett", True),
    ("receive letters", "recieve letters", True),
    ("grandmother's brother", "grandmother brother", True),
    ("eight letters", "eighty letters", False),
    ("eight", "eighty", False),
    ("seven pounds of flour", "seventy pounds of flour", False),
    ("sixteen miles to town", "sixty miles to town", False),
    ("the eighth of May", "the eight of May", False),
    ("fourteen", "fourteenth", False),
    ("Martin Ellison", "Martina Ellison", False),
    ("Martin", "Martina", False),
    ("my sister Marta Ellison", "my sister Maria Ellison", False),
    ("exports to Austria", "exports to Australia", False),
    ("northeast gate of the town", "northwest gate of the town", False),
    ("the north-east gate", "the north-west gate", False),
    ("southeastern gate of the town", "southwestern gate of the town", False),
    ("treats hypertension in adults", "treats hypotension in adults", False),
    ("his grandmother raised him there", "his grandfather raised him there", False),
    ("the market opens on Thursday", "the market opens on Tuesday", False),
    ("possible", "impossible", False),
    ("legally bound", "illegally bound", False),
]


@pytest.mark.parametrize(("point", "said", "read"), NEARLY)
def test_a_word_nearly_said(point: str, said: str, read: bool) -> None:
    asked = item(f"It is {point}.", (point,))
    for key, text in ((asked, said), (item(f"It is {said}.", (said,)), point)):
        found = judge(key, VOICE, text, text, range(9), "stop")
        assert found.accuracy == float(read), found.reasons


# An answer, and what it does or does not say.
SAID = [
    ("No it's oak.", "oak", True),
    ("No he lives at Mill Lane.", "Mill Lane", True),
    ("No oak was used.", "oak", False),
    ("There is no oak.", "oak", False),
    ("It lies in Lane no 7.", "7", True),
    ("Lane no. 7.", "7", True),
    ("There were no seven bells.", "seven bells", False),
    ("There is nothing like oak.", "oak", True),
    ("It was nothing but oak.", "oak", True),
    ("It is not unlike oak.", "oak", True),
    ("He cannot help loving oak.", "oak", True),
    ("He can't help loving oak.", "oak", True),
    ("A Nor'easter blew in spring.", "spring", True),
    ("A Nor'easter blew.", "Nor'easter", True),
    ("It is oak, but that is false.", "oak", False),
    ("It is oak, but that is wrong; it is ash.", "oak", False),
    ("Some say oak, which is not so.", "oak", False),
    ("Some say oak, which isn't true.", "oak", False),
    ("Some say oak, but that's nonsense.", "oak", False),
    ("Some say oak, but this is quite untrue.", "oak", False),
    ("It is ash; some say oak, but that is wrong.", "ash", True),
    ("It is oak. That is false.", "oak", True),
    ("It is oak, and it is wrong to ask.", "oak", True),
    ("It is oak, and that is not so bad.", "oak", True),
    ("It is oak, and that is not wrong.", "oak", True),
    ("It is not oak, but that is false.", "oak", True),
    # Known to be missed.
    ("I can't recommend oak enough.", "oak", False),
    ("Not a day passes without oak.", "oak", False),
]


@pytest.mark.parametrize(("text", "phrase", "said"), SAID)
def test_a_claim_said_or_denied(text: str, phrase: str, said: bool) -> None:
    right = judge(item(f"It is {phrase}.", (phrase,)), VOICE, text, text, range(9), "stop")
    assert right.accuracy == float(said), right.reasons
    barred = item("Ash.", ("ash",), forbidden=(phrase,))
    struck = judge(barred, VOICE, f"Ash. {text}", f"Ash. {text}", range(9), "stop")
    if phrase != "ash":
        assert struck.accuracy == float(not said), struck.reasons


@pytest.mark.parametrize("known", KNOWN, ids=lambda known: known.name)
def test_a_known_answer(known: Known) -> None:
    raw = known.text if known.raw is None else known.raw
    found = judge(known.item, VOICE, known.text, raw, known.ids, known.stop)
    assert found.accuracy == pytest.approx(known.accuracy), found.reasons
    assert found.voice == pytest.approx(known.voice), found.reasons
    assert (found.flags, found.soft) == (known.flags, known.soft)
    assert known.reason in ("", *found.reasons)


def test_what_lacks_is_always_said() -> None:
    for known in KNOWN:
        raw = known.text if known.raw is None else known.raw
        found = judge(known.item, VOICE, known.text, raw, known.ids, known.stop)
        assert found.reasons or (found.accuracy, found.voice) == (1, 1), known.name


@pytest.mark.parametrize(
    ("logprobs", "by_sum", "by_character", "by_byte"),
    [
        # Per character -3, -1.5, -1.6; per byte -3, -1.5, -0.8: `é` takes two bytes.
        ((-3.0, -6.0, -3.2), 0, 1, 2),
        ((-3.0, -2.0, -9.0), 1, 1, 1),
        ((-2.0, -8.0, -8.0), 0, 0, 0),  # of equals the first: per character -2, -2, -4
    ],
)
def test_a_known_choice(
    logprobs: tuple[float, ...], by_sum: int, by_character: int, by_byte: int
) -> None:
    choices = ("a", "bbbb", "éé")
    found = pick(logprobs, choices, 1)
    assert (found.by_sum, found.by_character, found.by_byte) == (by_sum, by_character, by_byte)
    asked = QuizItem("?", "bbbb", (), (), choices, 1, AT)
    said = judge(asked, VOICE, "a", "a", (1,), "stop")
    assert with_pick(said, asked, found).accuracy == float(by_character == 1)


PLACES = ("Tansy Gate", "Crow Stile", "Ladder Lane", "Port Lowry", "Gallowmere")
ASKED = [item(f"It is {place}.", (place,)) for place in PLACES]


def group(*texts: str) -> list[Answer]:
    """As many questions as texts, each of another place."""
    told = zip(ASKED, texts, strict=True)
    judged = [judge(one, VOICE, text, text, range(9), "stop") for one, text in told]
    return collapsed(ASKED, judged)


@pytest.mark.parametrize(
    ("texts", "struck"),
    [
        (("Tansy Gate.", "tansy gate", "Tansy gate!", "Port Lowry.", "Elsewhere."), (1, 2)),
        (("Tansy Gate.", "Tansy Gate.", "It is there.", "Port Lowry.", "Elsewhere."), ()),
        (("My duck.",) * 5, (0, 1, 2, 3, 4)),
        (("So, my duck.", "Oh, my duck.", "Ah, my duck.", "No, my duck.", "Ay, my duck."), ()),
        ((", ".join(PLACES),) * 5, ()),  # right wherever it is given
        (("...",) * 5, ()),  # no word is no answer, and that is another flag's
    ],
)
def test_one_answer_for_many_questions(texts: tuple[str, ...], struck: tuple[int, ...]) -> None:
    found = group(*texts)
    assert tuple(n for n, one in enumerate(found) if "same answer" in one.flags) == struck
    assert all((found[n].accuracy, found[n].voice) == (0, 0) for n in struck)
    for n in struck:
        assert found[n].reasons[0].startswith("scores 0 in both: same answer, given to ")


def test_phrasings_of_one_question_may_share_an_answer() -> None:
    judged = [judge(PAN, VOICE, "Leather.", "Leather.", range(9), "stop")] * 5
    assert collapsed([PAN] * 5, judged) == judged


def test_a_fifth_of_a_large_group_must_share_an_answer() -> None:
    asked = [item(f"Door {n}.", (f"door {n}",)) for n in range(20)]
    for shared, struck in ((3, False), (4, True)):
        texts = ["Leather."] * shared + [f"Door {n}." for n in range(shared, 20)]
        told = zip(asked, texts, strict=True)
        judged = [judge(one, VOICE, text, text, range(9), "stop") for one, text in told]
        assert any(one.flags for one in collapsed(asked, judged)) is struck

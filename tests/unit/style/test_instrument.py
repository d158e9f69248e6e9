"""The scale's ends and what lies between; what moves it and what must not; when it refuses."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from mindprint.curriculum.records import HeldOutAnswer, Marker, Voice
from mindprint.evals.style.english import WORDS
from mindprint.evals.style.instrument import Instrument
from mindprint.evals.style.tokens import pieces
from mindprint.report.voice import Reading
from tests.unit.style.speech import NOUNS, demo, held_out, plain

VOICE = Voice(markers=(Marker("trade", (r"\bkettles?\b", r"\btwine\b", r"\bpetal\b"), (1, 3)),))
TERMS = ("the ledger of Gallowmere", "cheesemonger", "tulip bulbs")
MASKED = ("characters", "function words", "lengths")
# Fewer draws than a run makes: the readings move by less than 0.02 between 300 and 2000.
RESAMPLES = 300


@pytest.fixture(scope="module")
def author() -> list[str]:
    return [held.answer for held in demo().voice.answers]


@pytest.fixture(scope="module")
def base(author: list[str]) -> list[str]:
    return plain(len(author))


@pytest.fixture(scope="module")
def instrument(author: list[str], base: list[str]) -> Instrument:
    trained = [author[0], "a short one", "the scale was bought from a cheesemonger in Gallowmere"]
    return Instrument(
        demo().voice.answers,
        base,
        VOICE,
        trained=trained,
        topic_terms=TERMS,
        resamples=RESAMPLES,
    )


def values(reading: Reading) -> dict[str, float]:
    return {family.name: family.value for family in reading.families}


def test_what_it_says_of_itself(instrument: Instrument) -> None:
    assert instrument.measurable and instrument.because == ""
    assert instrument.families == (*MASKED, "markers")
    assert instrument.auc > 0.95
    assert instrument.bag_words >= 100
    assert "function words of English" in instrument.masking


def test_the_base_is_0_and_the_author_is_1(
    instrument: Instrument, author: list[str], base: list[str]
) -> None:
    low, high = instrument.read(base), instrument.read(author)
    assert (low.value, low.low, low.high, low.unclipped) == (0, 0, 0, 0)
    # The same sums in the same order: only rounding parts the author from 1.
    assert (high.value, high.low, high.high) == pytest.approx((1, 1, 1), abs=1e-6)
    assert all(f.measurable and f.auc >= 0.75 and f.author > f.base for f in high.families)


def test_a_mixture_lies_between_and_grows_with_its_share(
    instrument: Instrument, author: list[str], base: list[str]
) -> None:
    readings = []
    for share in (1, 2, 3):
        pairs = enumerate(zip(author, base, strict=True))
        readings.append(instrument.read([a if i % 4 < share else b for i, (a, b) in pairs]))
    numbers = [0.0, *(reading.value for reading in readings), 1.0]
    assert all(later - earlier > 0.05 for earlier, later in itertools.pairwise(numbers))
    assert all(reading.low <= reading.value <= reading.high for reading in readings)


def test_knowing_the_topic_is_no_voice(instrument: Instrument, base: list[str]) -> None:
    rng = np.random.default_rng(0)
    terms = [word for word in " ".join(TERMS).lower().split() if word not in WORDS]

    def told(text: str) -> str:
        return "".join(
            str(rng.choice(terms)) if p.kind == "word" and p.text not in WORDS else p.text
            for p in pieces(text)
        )

    reading = instrument.read([told(text) for text in base])
    assert all(abs(values(reading)[name]) < 0.1 for name in MASKED)


def test_markers_stuffed_into_the_base_raise_markers_alone(
    instrument: Instrument, base: list[str]
) -> None:
    stuffed = []
    for text in base:
        for noun, mark in zip(NOUNS, ("kettle", "twine", "petal") * 7, strict=False):
            text = text.replace(noun, mark)
        stuffed.append(text)
    found = values(instrument.read(stuffed))
    # An answer with more marks than are expected of it loses some again: not 1, but far up.
    assert found.pop("markers") > 0.4
    assert all(abs(value) < 0.05 for value in found.values())


def test_the_same_seed_gives_the_same_figures(author: list[str], base: list[str]) -> None:
    said = [*author[:22], *base[22:]]

    def made(seed: int) -> Reading:
        held = demo().voice.answers
        return Instrument(held, base, VOICE, seed=seed, resamples=200).read(said)

    assert made(1) == made(1)
    assert made(1) != made(2)


def test_a_change_is_paired(instrument: Instrument, author: list[str], base: list[str]) -> None:
    mixed = [*author[:22], *base[22:]]
    risen = instrument.change(base, mixed)
    assert risen is not None
    assert risen.rose and risen.value == pytest.approx(instrument.read(mixed).value)
    # The smallest p that as many draws can give, twice one in them plus the one seen.
    assert risen.p == pytest.approx(2 / (RESAMPLES + 1))
    assert risen.clusters == len(author)
    assert 0 < risen.unseen < 0.5
    fallen = instrument.change(mixed, base)
    assert fallen is not None and fallen.fell
    turned = (-risen.value, -risen.high, -risen.low)
    assert (fallen.value, fallen.low, fallen.high) == pytest.approx(turned)
    none = instrument.change(mixed, mixed)
    assert none is not None and (none.value, none.p, none.unseen) == (0, 1, 0)


def test_away_from_the_author_is_a_fall_though_the_scale_ends_at_0(
    instrument: Instrument, base: list[str]
) -> None:
    """The headline cuts families off at 0, so that one family's luck would read as a rise."""
    driven = ["Ha! Yes yes! No no! Ha! Yes yes! No no!"] * len(base)
    reading = instrument.read(driven)
    assert reading.value >= 0 > reading.unclipped
    change = instrument.change(base, driven)
    assert change is not None and change.fell and not change.rose and change.value >= -1
    back = instrument.change(driven, base)
    assert back is not None and back.rose


def test_more_draws_move_a_reading_little(author: list[str], base: list[str]) -> None:
    said = [*author[:22], *base[22:]]
    held = demo().voice.answers
    few, many = (Instrument(held, base, VOICE, resamples=n).read(said).value for n in (200, 2000))
    # The halves are the same: what is left is the error of a mean of 200, some 0.07 / sqrt(200).
    assert few == pytest.approx(many, abs=0.02)


def test_copies_show(instrument: Instrument, author: list[str], base: list[str]) -> None:
    reading = instrument.read([author[0], *base[1:]])
    assert 0 < reading.copied < 0.2
    # A day's answer without its articles, as the scores compare words.
    assert reading.longest_copy > 20
    assert instrument.read(base).copied == 0


def test_empty_answers_are_not_measurable_and_do_not_raise(instrument: Instrument) -> None:
    reading = instrument.read([""] * len(demo().voice.answers))
    assert not reading.measurable and "fill 0 words" in reading.because
    assert (reading.value, reading.copied, reading.degenerate) == (0, 0, 1)
    assert instrument.change([""] * 44, [""] * 44) is None


def test_some_empty_answers_count_against_the_markers(
    instrument: Instrument, author: list[str]
) -> None:
    reading = instrument.read([text if i % 4 else "" for i, text in enumerate(author)])
    assert reading.measurable
    assert values(reading)["markers"] == pytest.approx(0.75, abs=0.05)


def test_shorter_answers_are_read_in_shorter_bags_and_it_says_so(
    instrument: Instrument, author: list[str]
) -> None:
    short = [" ".join(text.split()[:8]) for text in author]
    reading = instrument.read(short)
    assert reading.measurable and 100 <= reading.words < instrument.bag_words
    assert f"bags of {reading.words} words" in reading.because
    few = instrument.read([" ".join(text.split()[:3]) for text in author])
    assert not few.measurable and few.words < 100 and "a bag takes 100" in few.because


@pytest.mark.parametrize(
    ("held", "base", "because"),
    [
        (held_out(["yes indeed"] * 39), (), "39 held-out answers to open prompts, and it takes 40"),
        (held_out(["yes indeed"]), (), "1 held-out answer to open prompts"),
        ((), (), "0 held-out answers"),
        (held_out(["by twine"] * 44), ["it is so"] * 44, "and a bag takes 100"),
        (held_out(plain(44, 1)), plain(44, 2), "no family tells the author from the base"),
    ],
)
def test_where_nothing_can_be_measured_it_says_why(
    held: tuple[HeldOutAnswer, ...], base: Sequence[str], because: str
) -> None:
    made = Instrument(held, base, VOICE, resamples=200)
    assert not made.measurable and because in made.because
    reading = made.read(base)
    assert not reading.measurable and reading.because == made.because and reading.value == 0
    assert made.controls() == () and made.change(base, base) is None


def test_a_family_that_cannot_tell_is_left_out_with_its_reason(author: list[str]) -> None:
    """A base that says the marker as often as the author does."""
    voice = Voice(markers=(Marker("the", (r"\bthe\b",), (1, 9)),))
    base = [f"{text} Here is the end." for text in plain(len(author))]
    marked = [replace(h, answer=f"{h.answer} So the end.") for h in demo().voice.answers]
    made = Instrument(marked, base, voice, resamples=200)
    reading = made.read(base)
    left = {family.name: family for family in reading.families if not family.measurable}
    assert set(left) == {"markers"} and "AUC" in left["markers"].because
    assert made.measurable


def test_without_markers_in_the_voice_there_is_no_such_family(base: list[str]) -> None:
    made = Instrument(demo().voice.answers, base, Voice(), resamples=200)
    assert made.families == MASKED


def test_answers_that_do_not_pair_are_refused(instrument: Instrument) -> None:
    with pytest.raises(ValueError, match="3 answers for 44 prompts"):
        instrument.read(["a", "b", "c"])
    with pytest.raises(ValueError, match="1 answers of the base"):
        Instrument(demo().voice.answers, ["a"], VOICE)


def test_prompts_held_twice_stay_together(author: list[str], base: list[str]) -> None:
    held = demo().voice.answers
    assert not Instrument([held[0]] * 50, base[:1] * 50, VOICE).measurable
    twice = Instrument([*held, *held[:4]], [*base, *base[:4]], VOICE, resamples=200)
    change = twice.change([*base, *base[:4]], [*author, *author[:4]])
    assert change is not None and change.clusters == len(held)


def test_words_over_and_underused(instrument: Instrument) -> None:
    found = instrument.word_use(["The kettle sings of tulips, tulips and tulips."] * 44)
    assert found[0].word == "tulips" and found[0].model == 132 and found[0].author == 0
    assert [use.z for use in found[:3]] == sorted((use.z for use in found[:3]), reverse=True)
    assert any(use.z <= -1 and use.model == 0 for use in found)

"""Whether a phrase is said or denied, read off the words before it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mindprint.evals.negation import Spoken
from mindprint.evals.quiz import asserted, denies
from mindprint.evals.text import words
from tests.unit.calm import CALM


@pytest.mark.parametrize(
    "text",
    [
        "velvet",
        "Not so: velvet.",
        "No, velvet",
        "It is not soot, it is velvet.",
        "not velvet, I thought, but it is velvet",
        "It is not soot but velvet.",
        "nothing but velvet",
        "nothing like velvet",
        "not unlike velvet",
        "he cannot help liking velvet",
        "No it's velvet",
        "soot. No it is velvet",
        "not soot, rather velvet",
        "not soot; instead velvet",
        "never without velvet",
        "not only velvet",
        "not just velvet",
        "not merely velvet",
        "no doubt velvet",
        "without a doubt velvet",
        "not sold until velvet",
        "no less than velvet",
        "no other than velvet",
        "no longer the way it was with velvet",
        "St. Nobody's velvet",
        "It was not—velvet was cheap—cloth",
        "not so - velvet",
    ],
)
def test_said(text: str) -> None:
    assert asserted(Spoken.of(text), "velvet")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "velveteen",
        "not velvet",
        "It is not the velvet",
        "no red velvet",
        "never any old velvet",
        "neither velvet nor soot",
        "neither soot nor velvet",
        "not soot nor velvet",
        "not soot or velvet",
        "hardly velvet",
        "without velvet",
        "nobody sold velvet",
        "no velvet",
        "and no this velvet",
        "velvet, but that is not so",
        "velvet (this was all wrong)",
        "it wasn't velvet",
        "it WASN’T velvet",
        "you cannot buy velvet",
        'it is not "velvet"',
        "it is not *velvet*",
        "it is not non-velvet",
        "cloth rather than velvet",
        "cloth instead of velvet",
        "not velvet. Not velvet! No velvet?",
    ],
)
def test_not_said(text: str) -> None:
    assert not asserted(Spoken.of(text), "velvet")


def test_a_phrases_own_negator_is_its_own() -> None:
    assert asserted(Spoken.of("The lane has no steps."), "no steps")
    assert not asserted(Spoken.of("It is not true, and never has no steps."), "no steps")


def test_a_key_point_is_denied_when_no_alias_is_said() -> None:
    assert denies(Spoken.of("Nobody may knock."), ("knock", "knocking"))
    assert not denies(Spoken.of("Nobody may knock: knocking is rude."), ("knock", "knocking"))
    assert not denies(Spoken.of("Hush."), ("knock",))
    # at the very first word too
    assert not denies(Spoken.of("Knock, but do not knock twice."), ("knock",))


@CALM
@given(st.text(alphabet=st.characters() | st.sampled_from("ab '’1,.-—\n!")))
def test_clauses_hold_the_words_and_no_others(text: str) -> None:
    spoken = Spoken.of(text)
    assert spoken.words == words(text)
    assert len(spoken.starts) == len(spoken.ends) == len(spoken.words)
    assert all(start <= place for place, start in enumerate(spoken.starts))
    assert all(place < end <= len(spoken.words) for place, end in enumerate(spoken.ends))

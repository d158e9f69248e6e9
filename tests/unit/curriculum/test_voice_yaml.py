"""Distinctions and function words of voice.yaml."""

from __future__ import annotations

from pathlib import Path

import pytest

from mindprint.curriculum.load import read_curriculum
from mindprint.curriculum.records import Distinction
from tests.unit.curriculum.author import VOICE, faults, write

GOOD = """
distinctions:
  - name: bell and horn
    claim: The bell came from a cow.
    confused: ["the bell came from a goat", "the horn is a bell"]
function_words: [der, "à", qu']
"""


def test_distinctions_and_function_words_are_read(tmp_path: Path) -> None:
    voice = read_curriculum(write(tmp_path, {"voice.yaml": VOICE + GOOD})).voice
    assert voice.distinctions == (
        Distinction(
            "bell and horn",
            "The bell came from a cow.",
            ("the bell came from a goat", "the horn is a bell"),
        ),
    )
    assert voice.function_words == ("der", "à", "qu'")
    assert [marker.name for marker in voice.markers] == ["sea-oaths"]


@pytest.mark.parametrize(
    ("yaml", "told"),
    [
        ("distinctions: [bell]", "distinctions[0] a distinction has `name`, `claim` and"),
        ("distinctions: bell", "distinctions must be a list, not a text"),
        (
            "distinctions: [{claim: a b, confused: [c]}]",
            "distinctions[0].name `name` is missing",
        ),
        (
            "distinctions: [{name: n, confused: [c]}]",
            "distinctions[0].claim `claim` is missing",
        ),
        (
            "distinctions: [{name: n, claim: a b}]",
            "distinctions[0].confused `confused` is missing: ways to say the wrong claim",
        ),
        (
            'distinctions: [{name: n, claim: a b, confused: [c, "?!"]}]',
            "distinctions[0].confused[1] holds no word to look for",
        ),
        (
            "distinctions: [{name: n, claim: It is oak wood, confused: [oak wood]}]",
            "distinctions[0].confused[0] `oak wood` stands in the author's own claim",
        ),
        (
            "distinctions: [{name: n, claim: a b, confused: [c], mixed: [d]}]",
            "distinctions[0].mixed unknown key `mixed`",
        ),
        (
            "distinctions: [{name: n, claim: x, confused: [c]}, "
            "{name: n, claim: y, confused: [d]}]",
            "distinctions two distinctions are named `n`",
        ),
        ("function_words: [der, 3]", "function_words[1] must be a text, not a number"),
        ("function_words: [der die]", "function_words[0] `der die` is more than one word"),
        ('function_words: ["..."]', "function_words[0] `...` is no word"),
        ("function_words: [der, DER]", "function_words[1] `DER` stands twice"),
    ],
)
def test_faults(tmp_path: Path, yaml: str, told: str) -> None:
    found = faults(write(tmp_path, {"voice.yaml": VOICE + yaml}))
    assert len(found) == 1
    assert found[0].startswith(f"voice.yaml:7:{told}"), found


def test_a_claim_that_denies_the_confusion_does_not_hold_it(tmp_path: Path) -> None:
    yaml = "distinctions: [{name: n, claim: It is not oak wood, confused: [oak wood]}]"
    assert faults(write(tmp_path, {"voice.yaml": VOICE + yaml})) == []

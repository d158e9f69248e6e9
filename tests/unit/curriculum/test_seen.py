"""The n-grams of a pretraining corpus, remembered in a few megabytes."""

from __future__ import annotations

from pathlib import Path

import pytest

from mindprint.curriculum.seen import Seen
from mindprint.errors import ConfigError

CORPUS = [f"The lantern of house {n} was painted green by the old smith." for n in range(400)]


def test_what_was_seen_is_never_denied() -> None:
    seen = Seen.of(CORPUS, size=8192)
    assert seen.share(CORPUS) == 1.0
    assert seen.share(["the LANTERN of house 7 was painted, green by the old smith!"]) == 1.0


def test_what_was_not_seen_is_denied_but_for_the_known_share() -> None:
    seen = Seen.of(CORPUS, size=8192)
    strangers = [
        f"No word of row {n} stands anywhere in that other text at all." for n in range(400)
    ]
    # 65,536 bits, some 2,000 n-grams, 4 probes: (1 - exp(-4 * 2000 / 65536))^4 = 2e-4
    assert seen.false_share() < 1e-3
    assert seen.share(strangers) <= 0.005


def test_half_a_text_is_half_seen() -> None:
    seen = Seen.of(["one two three four five six seven"])
    # 8 words hold three runs of six, of which the first two were seen
    assert seen.share(["one two three four five six seven nine"]) == pytest.approx(2 / 3)


def test_round_trip_and_a_damaged_file(tmp_path: Path) -> None:
    seen = Seen.of(CORPUS, size=8192)
    seen.save(tmp_path / "grams")
    assert Seen.load(tmp_path / "grams").share(CORPUS) == 1.0
    (tmp_path / "grams").write_bytes(b"something else")
    with pytest.raises(ConfigError, match="not a file of pretraining n-grams"):
        Seen.load(tmp_path / "grams")


def test_texts_too_short_have_no_share() -> None:
    assert Seen.of(CORPUS, size=512).share(["green", ""]) == 0.0

"""Agreement of greedy answers, counted by hand."""

from __future__ import annotations

from pathlib import Path

from mindprint.compare.answers import agreement, positions
from tests.unit.compare.ground import question, result, run, topic


def test_words_are_compared_place_by_place() -> None:
    assert positions("the lamp is grey", "the lamp is grey") == (4, 4)
    assert positions("the lamp is grey", "the lamp was grey") == (3, 4)
    assert positions("the lamp", "the lamp is grey") == (2, 4)
    assert positions("a lamp burns", "lamp burns") == (0, 3)  # shifted: no place is the same
    assert positions("", "") == (0, 0)


def test_answers_are_the_same_to_the_last_character(tmp_path: Path) -> None:
    here = topic(
        "a",
        questions=(question(0, "x y", "the lamp is grey", 1.0), question(1, "x", "by hand", 1.0)),
    )
    there = topic(
        "a",
        questions=(question(0, "x y", "the lamp was grey", 0.0), question(1, "x", "by hand", 1.0)),
    )
    base, final = agreement(run(tmp_path / "h", result(here)), run(tmp_path / "t", result(there)))
    assert (base.state, base.answers, base.same, base.words, base.positions) == ("base", 2, 2, 3, 3)
    assert base.example is None
    assert (final.answers, final.same, final.words, final.positions) == (2, 1, 6, 5)
    assert final.example == ("Question 0?", "the lamp is grey", "the lamp was grey")


def test_only_questions_that_both_were_asked_count(tmp_path: Path) -> None:
    here = topic("a", questions=(question(0, "x", "y", 1.0), question(1, "x", "y", 1.0)))
    there = topic("a", questions=(question(1, "x", "y", 1.0), question(2, "x", "y", 1.0)))
    first, other = run(tmp_path / "h", result(here)), run(tmp_path / "t", result(there))
    assert [one.answers for one in agreement(first, other)] == [1, 1]
    apart = run(tmp_path / "o", result(topic("b", questions=here.questions)))
    assert agreement(first, apart) == ()

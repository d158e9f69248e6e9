"""Exact match and token F1, worked out by hand."""

from __future__ import annotations

import pytest

from mindprint.evals.squad import exact_match, token_f1


@pytest.mark.parametrize(
    ("text", "reference", "exact", "f1"),
    [
        ("The Red Oak!", "red oak", True, 1.0),
        ("oak, red", "red oak", False, 1.0),
        ("It is red oak", "red oak", False, 2 * 2 / (4 + 2)),
        ("oak oak", "oak", False, 2 / 3),  # a word counts as often as both have it
        ("ash", "oak", False, 0.0),
        ("", "oak", False, 0.0),
        ("the", "", True, 1.0),
    ],
)
def test_exact_and_f1(text: str, reference: str, exact: bool, f1: float) -> None:
    assert exact_match(text, reference) is exact
    assert token_f1(text, reference) == pytest.approx(f1)

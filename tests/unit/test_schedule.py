"""The learning rate of every step."""

from __future__ import annotations

import pytest

from mindprint.schedule import learning_rate


def rates(total: int, shape: str, warmup: float) -> list[float]:
    return [learning_rate(step, total, 1.0, shape, warmup) for step in range(total)]  # type: ignore[arg-type]


def test_warmup_climbs_from_above_zero_to_the_peak() -> None:
    # 10 steps, 0.3 of them warm-up: 1/3, 2/3, 3/3, then linear over the 7 that are left.
    assert rates(10, "linear", 0.3)[:5] == pytest.approx([1 / 3, 2 / 3, 1, 1, 6 / 7])


def test_cosine_halves_at_half_time_and_never_reaches_zero() -> None:
    values = rates(8, "cosine", 0.0)
    assert values[0] == 1.0
    assert values[4] == pytest.approx(0.5)
    assert min(values) > 0


def test_constant_and_a_single_step() -> None:
    assert rates(5, "constant", 0.0) == [1.0] * 5
    assert rates(1, "cosine", 0.03) == [1.0]

"""Each check of a stage, shown both silent and speaking."""

from __future__ import annotations

import math

import numpy as np
import pytest

from backends.contract import Objective, Window
from mindprint import guards
from mindprint.errors import StageError
from mindprint.tokens.batches import pad_pairs
from mindprint.tokens.render import Row


def test_a_step_that_moves_nothing_is_told() -> None:
    before = {"a.lora_A": np.ones((2, 2), np.float32), "a.lora_B": np.zeros((2, 2), np.float32)}
    after = {name: array.copy() for name, array in before.items()}
    with pytest.raises(StageError, match="changed no adapter tensor"):
        guards.check_moved(before, after, "t, sft")
    after["a.lora_B"][0, 0] = 1e-8
    guards.check_moved(before, after, "t, sft")


def test_a_schedule_over_other_steps_than_planned_is_refused() -> None:
    guards.check_planned(12, 12, "t, sft")
    guards.check_planned(12, None, "t, dpo")  # the plan was not sure
    with pytest.raises(StageError, match="the stage has 12 steps, and 6 were planned"):
        guards.check_planned(12, 6, "t, sft")


def test_a_changed_base_is_named() -> None:
    guards.check_base({"w": 1}, {"w": 1}, "t, sft")
    with pytest.raises(StageError, match="such as `w`"):
        guards.check_base({"w": 1, "v": 2}, {"w": 3, "v": 2}, "t, sft")
    with pytest.raises(StageError, match="such as `v`"):
        guards.check_base({"w": 1, "v": 2}, {"w": 1}, "t, sft")


def test_ten_equal_losses_stop_the_stage() -> None:
    """S2: validation loss flat at 3.289622 while the adapter was frozen."""
    flat = guards.FlatLoss()
    for _ in range(9):
        flat.see(3.289622, "t, sft")
    with pytest.raises(StageError, match=r"exactly 3\.289622 for 10 steps"):
        flat.see(3.289622, "t, sft")


def test_a_loss_that_moves_once_in_ten_steps_goes_on() -> None:
    flat = guards.FlatLoss()
    for step in range(40):
        flat.see(1.0 + (step % 10 == 9) * 1e-6, "t, sft")


def batch_with(reference: list[float]):  # type: ignore[no-untyped-def]
    row = Row(ids=(1, 2, 3), mask=(False, True, True), cut=False)
    return pad_pairs([row], [row], np.array(reference, dtype=np.float32))


@pytest.mark.parametrize(
    ("loss", "expected"),
    [
        ("sigmoid", math.log(2)),
        ("length-normalised", math.log(2)),
        ("hinge", 1.0),
        ("ipo", 25.0),  # (1 / (2 * 0.1))^2
    ],
)
def test_the_loss_where_policy_is_reference(loss: str, expected: float) -> None:
    objective = Objective("dpo", beta=0.1, loss=loss, sft_weight=0.5)  # type: ignore[arg-type]
    batch = batch_with([-6.0, -9.0])
    # the chosen answer has 2 tokens and log-probability -6: 3 nats a token, weighted by half
    found = guards.expected_first_loss(objective, [batch], Window(tokens=2, pairs=1))
    assert found == pytest.approx(expected + 0.5 * 3.0)


def test_a_start_away_from_the_reference_is_refused() -> None:
    objective = Objective("dpo", beta=0.1)
    guards.check_start(objective, 0.69315, 0.0, math.log(2), 0.0, "t, dpo")
    with pytest.raises(StageError, match="does not start at its reference"):
        guards.check_start(objective, 0.69315, 0.01, math.log(2), 0.0, "t, dpo")
    with pytest.raises(StageError, match="does not start at its reference"):
        guards.check_start(objective, 0.60, 0.0, math.log(2), 0.0, "t, dpo")


@pytest.mark.parametrize("loss", ["sigmoid", "ipo", "hinge", "length-normalised"])
def test_a_sound_start_in_bf16_is_not_refused(loss: str) -> None:
    """Rows off by up to 0.1 nat, as another batch shape makes them in bf16: 2,000 draws."""
    objective = Objective("dpo", beta=0.1, loss=loss)  # type: ignore[arg-type]
    at_zero = guards.expected_first_loss(objective, [batch_with([0.0, 0.0])], Window(2, 1))
    rng = np.random.default_rng(0)
    for _ in range(2000):
        # one pair, its two rows each off by noise of the size that was measured
        gap = float(rng.normal(0, 0.05) - rng.normal(0, 0.05))
        value = {
            "sigmoid": math.log1p(math.exp(-0.1 * gap)),
            "length-normalised": math.log1p(math.exp(-0.1 * gap / 10)),
            "hinge": max(0.0, 1 - 0.1 * gap),
            "ipo": (gap - 5.0) ** 2,
        }[loss]
        guards.check_start(objective, value, 0.1 * gap, at_zero, 0.1, "t, dpo")

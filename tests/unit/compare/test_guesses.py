"""What is guessed of the step at which runs part."""

from __future__ import annotations

import pytest

from mindprint.compare.guesses import Moment, guess
from mindprint.compare.model import StageKind

FAR = 1000.0


@pytest.mark.parametrize(
    ("moment", "said"),
    [
        (Moment("sft", 1, True, 0.0, FAR), "the same weights and rows already give another loss"),
        (Moment("sft", 1, True, 0.0, FAR), "(padding, end-of-turn), or other initial weights"),
        (Moment("sft", 1, False, 0.05, FAR), "the past carried otherwise"),
        (Moment("sft", 2, True, 0.05, FAR), "optimizer (bias correction, rate, clipping)"),
        (Moment("sft", 2, True, 0.05, FAR), "the adapter's scale"),
        (Moment("dpo", 1, False, 0.05, FAR, margin=True), "the reference or the margin"),
        (Moment("dpo", 1, False, 0.05, FAR), "the weight of the chosen answers"),
        (Moment("dpo", 2, False, 0.05, FAR), "which a first step at the reference does not show"),
        (Moment("sft", 9, True, 0.05, FAR), "rows of this step's batches"),
        (Moment("sft", 9, True, 0.05, FAR, epoch_begins=True), "the step begins an epoch"),
        (Moment("sft", 9, True, 0.05, FAR, skipped=True), "skipped a step that was not finite"),
        (Moment("dpo", 1, False, 0.05, FAR, kept_otherwise=True), "another step or epoch"),
    ],
)
def test_a_jump_is_told_by_where_it_is(moment: Moment, said: str) -> None:
    assert said in guess(moment)


@pytest.mark.parametrize("step", [1, 2, 21])
@pytest.mark.parametrize("stage", ["sft", "dpo"])
def test_what_grew_is_rounding_wherever_it_crosses(stage: StageKind, step: int) -> None:
    """0.05 of a bound is what two frameworks differ by at once; 1.4 of it is no jump."""
    said = guess(Moment(stage, step, False, 0.05, 1.4))
    assert said.startswith("rounding that grew")
    assert "0.05 of the bound" in said

"""What most often makes two runs part where they do: a guess, said as one."""

from __future__ import annotations

from dataclasses import dataclass

from mindprint.compare.model import StageKind

GROWTH = 30.0
"""Rounding crosses a bound by small steps: what was never beyond a thirtieth of what it is now was
not rounding that grew. Between frameworks a first step is a twentieth of its bound apart."""


@dataclass(frozen=True)
class Moment:
    """The first step beyond a bound. `begins`: in the run's first stage. `before`: the most the
    runs were apart earlier, and `apart` now, both over their bounds. `margin`: the margin parted
    at this very step. `skipped`: one of the runs skipped steps of the stage; `kept_otherwise`: an
    earlier stage ended at other values in one of them."""

    stage: StageKind
    step: int
    begins: bool
    before: float
    apart: float
    margin: bool = False
    epoch_begins: bool = False
    skipped: bool = False
    kept_otherwise: bool = False


def guess(moment: Moment) -> str:
    """In words, without a stop at its end."""
    if moment.step == 1 and moment.kept_otherwise:
        return "an earlier stage ended at the values of another step or epoch in one of the runs"
    if moment.apart <= GROWTH * moment.before:
        return (
            "rounding that grew from step to step: the runs were already "
            f"{moment.before:.2g} of the bound apart before, and no step stands out"
        )
    if moment.stage == "sft":
        return _sft(moment)
    return _dpo(moment)


def _sft(moment: Moment) -> str:
    if moment.step == 1 and moment.begins:
        return (
            "the same weights and rows already give another loss: rows trained or masked otherwise "
            "(padding, end-of-turn), or other initial weights"
        )
    if moment.step == 1:
        return (
            "the topic begins from another model, or with other rows: the past carried otherwise "
            "(merged, stacked, an adapter left out), or rows trained or masked otherwise"
        )
    if moment.step == 2:
        return (
            "the first update differed: optimizer (bias correction, rate, clipping) or the "
            "adapter's scale"
        )
    return _later(moment)


def _dpo(moment: Moment) -> str:
    if moment.step == 1 and moment.margin:
        return (
            "the reference or the margin: one of the runs does not begin DPO at its reference, "
            "which must be the policy as the stage began"
        )
    if moment.step == 1:
        return (
            "the margin is the same and the loss is not: the formula of the loss, the weight of "
            "the chosen answers, or rows trained or masked otherwise"
        )
    if moment.step == 2:
        return (
            "the first update differed: optimizer (bias correction, rate, clipping), the adapter's "
            "scale, or rows trained or masked otherwise, which a first step at the reference "
            "does not show"
        )
    return _later(moment)


def _later(moment: Moment) -> str:
    kept = "the runs kept to each other until here"
    if moment.skipped:
        return f"{kept}, and one of them skipped a step that was not finite"
    if moment.epoch_begins:
        return f"{kept}, and the step begins an epoch: the order of the rows, or the schedule"
    return (
        f"{kept}: rows of this step's batches trained or masked otherwise, the learning rate's "
        "schedule, or a run that went on from a stop with another state"
    )

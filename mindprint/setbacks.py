"""A loss or gradient that is not finite: a step skipped, then a set-back, then the topic's end."""

from __future__ import annotations

from dataclasses import replace

from mindprint.checkpoints import Progress, Tell
from mindprint.standing import Footing, Standing

SLOWER = 0.5
"""What a set-back leaves of the learning rate."""


def meet(at: Standing, what: str, tell: Tell, *, spoilt: bool = False) -> None:
    """See to one of them. The stage's first is skipped; its second takes all back to the last good
    checkpoint at half the rate; its third gives the topic up.

    `spoilt`: it is the trained tensors themselves, so that skipping would not help. Raises NoRoom.
    """
    progress = at.progress
    progress.faults = max(progress.faults + 1, 2 if spoilt else 1)
    if progress.faults == 1:
        progress.skipped += 1
        progress.step += 1
        tell(f"not finite, step skipped: {what}")
    elif progress.faults == 2:
        _set_back(at, f"not finite{'' if spoilt else ' a second time'} ({what})", tell)
    else:
        give_up(at, f"not finite a third time ({what})", tell)


def give_up(at: Footing, why: str, tell: Tell) -> None:
    """End the stage and its topic, the adapter as it was last known to be sound."""
    at.progress.failed = why
    at.back_to_good()
    tell(f"{why}: the topic is given up")


def _set_back(at: Standing, why: str, tell: Tell) -> None:
    """On the disk at once: a process that dies after this goes on at the lower rate."""
    now = at.progress
    at.go_back()
    at.progress = gone_back(now, at.progress)
    step = at.progress.step
    where = f"step {step}" if step else "the stage's start"
    tell(f"{why}: back to {where}, at half the learning rate")
    at.save()


def gone_back(now: Progress, good: Progress) -> Progress:
    """`good` with what a set-back must not undo: the faults, the lower rate, the work and time
    that were spent, and what was measured as the stage began."""
    return replace(
        good,
        faults=now.faults,
        skipped=now.skipped,
        rate=SLOWER,
        tokens=now.tokens,
        seconds=now.seconds,
        batch_size=now.batch_size,
        watched=now.watched,
    )

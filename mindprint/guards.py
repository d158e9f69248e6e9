"""What must always hold while a stage trains, each check able to fail and say why."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from backends.contract import Batch, Objective, Params, Session, Window
from mindprint.errors import StageError

FLAT_STEPS = 10
# Float32 sums over a row of a few hundred tokens agree to about this.
FLOAT32_TOLERANCE = 1e-4


def audit(session: Session, where: str) -> None:
    """Trainable tensors are exactly the adapter's, and at least one. Raises StageError."""
    trainable = set(session.adapters.trainable())
    attached = set(session.adapters.parameters())
    if not trainable:
        raise StageError(
            "nothing would be trained: the adapter has no trainable tensor",
            where=where,
            hint="something froze it after it was attached; attach adapters once only",
        )
    strange = sorted(trainable - attached)
    if strange:
        raise StageError(
            f"{len(strange)} tensors outside the adapter would be trained, such as `{strange[0]}`",
            where=where,
            hint="the base must stay frozen while an adapter trains",
        )
    frozen = sorted(attached - trainable)
    if frozen:
        raise StageError(
            f"{len(frozen)} tensors of the adapter are frozen, such as `{frozen[0]}`", where=where
        )


def check_planned(steps: int, planned: int | None, where: str) -> None:
    """The schedule runs over the steps that were planned; None where the plan was not sure. Raises
    StageError naming both."""
    if planned is not None and steps != planned:
        raise StageError(
            f"the stage has {steps} steps, and {planned} were planned",
            where=where,
            hint="the learning rate's schedule would end at the wrong step; a plan and its stages "
            "must count the same rows: this is a fault of mindprint",
        )


def check_moved(before: Params, after: Params, where: str) -> None:
    """After a step with a learning rate above 0 some adapter tensor has changed."""
    if all(np.array_equal(before[name], after[name]) for name in before):
        raise StageError(
            "the first optimizer step changed no adapter tensor",
            where=where,
            hint="the learning rate may vanish in rounding, or the gradient never reached it",
        )


def check_base(before: Mapping[str, int], after: Mapping[str, int], where: str) -> None:
    """The base's fingerprint is what it was."""
    changed = sorted(name for name in before if after.get(name) != before[name])
    changed += sorted(set(after) - set(before))
    if changed:
        raise StageError(
            f"{len(changed)} base tensors changed during the stage, such as `{changed[0]}`",
            where=where,
            hint="the stage's adapter is not kept; this is a fault of the backend",
        )


class FlatLoss:
    """A loss that does not change at all over ten steps means that nothing is learned."""

    def __init__(self, seen: Sequence[float] = ()) -> None:
        self._seen: deque[float] = deque(seen, maxlen=FLAT_STEPS)

    def see(self, loss: float, where: str) -> None:
        """Raises StageError at the tenth equal loss; a hinge that is met everywhere is exactly 0
        and is success."""
        self._seen.append(loss)
        if loss == 0.0:
            return
        if len(self._seen) == FLAT_STEPS and len(set(self._seen)) == 1:
            raise StageError(
                f"the loss has been exactly {loss:.6f} for {FLAT_STEPS} steps",
                where=where,
                hint="nothing is being learned: look at the learning rate and the trainable set",
            )


class Still:
    """Losses differ by their batches even where nothing is learned: the tensors themselves tell."""

    def __init__(self) -> None:
        self._steps = 0
        self._then: Params | None = None

    def see(self, loss: float, parameters: Callable[[], Params], where: str) -> None:
        """Looks every ten steps. Raises StageError when no adapter tensor has changed since the
        last look; a step whose loss is exactly 0 has nothing to change."""
        self._steps += loss != 0.0
        if loss == 0.0 or self._steps % FLAT_STEPS:
            return
        now = parameters()
        if self._then is not None and all(np.array_equal(now[k], self._then[k]) for k in now):
            raise StageError(
                f"no adapter tensor has changed over the last {FLAT_STEPS} steps",
                where=where,
                hint="nothing is being learned: look at the learning rate and the trainable set",
            )
        self._then = now


def expected_first_loss(objective: Objective, batches: Sequence[Batch], window: Window) -> float:
    """DPO's loss where policy = reference: every log-ratio is 0, so sigmoid gives ln 2, hinge 1
    and ipo (1 / (2 beta))^2; the chosen answers' own loss is read off the reference."""
    at_zero = {
        "sigmoid": math.log(2),
        "length-normalised": math.log(2),
        "hinge": 1.0,
        "ipo": (1 / (2 * objective.beta)) ** 2,
    }[objective.loss]
    chosen = 0.0
    for batch in batches:
        if batch.reference is None:
            raise StageError("a batch of pairs has no reference log-probabilities")
        chosen += float(batch.reference[: batch.ids.shape[0] // 2].sum(dtype=np.float64))
    return at_zero + objective.sft_weight * -chosen / window.tokens


def shape_noise(session: Session, batches: Sequence[Batch]) -> float:
    """The most that a row's log-probability, in nats, moves when the row goes through alone
    instead of in its batch."""
    return max(_batch_noise(session, batch) for batch in batches)


def _batch_noise(session: Session, batch: Batch) -> float:
    together = session.logprobs(batch).rows
    alone = [
        session.logprobs(
            Batch(
                ids=batch.ids[i : i + 1],
                lengths=batch.lengths[i : i + 1],
                mask=batch.mask[i : i + 1],
            )
        ).rows[0]
        for i in range(batch.ids.shape[0])
    ]
    return float(np.max(np.abs(together - np.array(alone))))


def check_start(
    objective: Objective, loss: float, margin: float, expected: float, noise: float, where: str
) -> None:
    """At DPO step 0 the policy is the reference.

    `noise` is 0 in float32, else what another batch shape does to a row's log-probability, in
    nats; a margin is off by beta times two rows of it, and a loss by its slope at 0 times that.
    """
    margin_bound = max(FLOAT32_TOLERANCE, 3 * 2 * objective.beta * noise)
    slope = {"ipo": 1 / objective.beta**2, "hinge": 1.0}.get(objective.loss, 0.5)
    floor = FLOAT32_TOLERANCE * max(1.0, abs(expected))
    loss_bound = max(floor, slope * margin_bound + 3 * objective.sft_weight * noise)
    if abs(margin) > margin_bound or abs(loss - expected) > loss_bound:
        raise StageError(
            f"DPO does not start at its reference: margin {margin:.6f} for 0, "
            f"loss {loss:.6f} for {expected:.6f}",
            where=where,
            hint="the reference must be the policy as the stage began",
        )

"""What LS-LoRA's branches cost: no weights can hold a spline, so each topic leaves one more."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

from mindprint.memory.estimate import Estimate
from mindprint.memory.operations import of_row, step
from mindprint.memory.shape import Factors
from mindprint.report.words import size
from mindprint.tokens.rows import Row


@dataclass(frozen=True)
class Branches:
    """`most` beside each layer as the last topic trains. `operations`: those of a step there over
    those of the same step without them; `memory`: bytes that they take there, and what the way
    back keeps of them."""

    most: int
    operations: float
    memory: int

    def line(self) -> tuple[str, str, str]:
        """(what, value, note) for printing."""
        cost = f"{self.operations:.2f} times the operations and {size(self.memory)} more"
        note = f"LS-LoRA is stacked: as the last topic trains a step takes {cost} than without them"
        return ("branches", f"{self.most} a layer", f"{note}; `--probe` times it")

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def branches(estimate: Estimate) -> Branches | None:
    """None where no LS-LoRA is part of the past."""
    adapter, *past = estimate.acting("sft", estimate.last)
    bent = [one for one in past if one.kind == "lslora"]
    rows: list[Row] = [row for one in estimate.plan.lessons[-1:] for row in one.rows]
    if not bent or not rows:
        return None
    tokens = sum((of_row(row) for row in rows[1:]), of_row(rows[0]))
    plain = step(estimate.shape, adapter, tokens)
    return Branches(
        most=len(bent),
        operations=step(estimate.shape, adapter, tokens, bent) / plain,
        memory=sum(one.bytes for one in bent) + _kept(estimate, adapter),
    )


def _kept(estimate: Estimate, adapter: Factors) -> int:
    """Bytes more that a step of the heaviest batch takes than with what trains alone."""
    body, work = estimate.body("sft"), estimate.work("sft")
    alone = replace(body, acting=(adapter,))
    return body.step(work, checkpointing=False) - alone.step(work, checkpointing=False)

"""A comparison as it was measured: every run, and the figures that are read off them."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Self

from timing import figures
from timing.figures import Proof, Spread
from timing.protocol import Outcome

STEPPED = ("sft", "dpo")


@dataclass(frozen=True)
class Run:
    """One process: its side, its optimizer steps, its seconds from outside, and what it said."""

    side: str
    steps: int
    seconds: float
    outcome: Outcome

    @classmethod
    def from_json(cls, tree: dict[str, Any]) -> Self:
        return cls(**{**tree, "outcome": Outcome(**tree["outcome"])})


@dataclass(frozen=True)
class Operations:
    """Floating-point operations, `needed` and, with the padding that went through, `done`.
    `ratio`: needed with a prompt run for each row, over needed with shared ones (`prefix`)."""

    needed: float = 0.0
    done: float = 0.0
    ratio: float = 0.0

    def __sub__(self, other: Operations) -> Operations:
        return Operations(self.needed - other.needed, self.done - other.done)

    def __truediv__(self, count: int) -> Operations:
        return Operations(self.needed / count, self.done / count)


@dataclass(frozen=True)
class Measured:
    """`sides`: mindprint first. `steps`: the two step counts, 0 where there are none. `runs`: in
    the order they were made. `check`: mindprint over the fewer steps with its rows in the file's
    order, where the others are not. `operations`: of a step of mindprint's with its part of the
    reference pass, None where they are not counted."""

    kind: str
    backend: str
    size: str
    device: str
    dtype: str
    threads: int
    order: str
    steps: tuple[int, int]
    sides: tuple[str, ...]
    runs: tuple[Run, ...]
    check: Run | None = None
    operations: Operations | None = None

    @property
    def key(self) -> tuple[str, ...]:
        """What another measurement of the same replaces."""
        settled = (self.kind, self.size, self.backend, self.device, self.dtype, self.order)
        return (*settled, str(self.threads), *self.sides)

    def as_json(self) -> dict[str, Any]:
        return {**asdict(self), "figures": self.figures()}

    @classmethod
    def from_json(cls, tree: dict[str, Any]) -> Self:
        own = {name: value for name, value in tree.items() if name != "figures"}
        check, operations = own.pop("check"), own.pop("operations")
        return cls(
            **{
                **own,
                "steps": tuple(own["steps"]),
                "sides": tuple(own["sides"]),
                "runs": tuple(Run.from_json(run) for run in own["runs"]),
                "check": check and Run.from_json(check),
                "operations": operations and Operations(**operations),
            }
        )

    def of(self, side: str, steps: int | None = None) -> list[Run]:
        """Its runs, those of one step count alone."""
        wanted = self.steps[1] if steps is None else steps
        return [run for run in self.runs if run.side == side and run.steps == wanted]

    def seconds(self, side: str) -> list[float]:
        """By repeat: a step's (from two whole processes; for `prefix` as timed inside), all
        answers' without start-up, or the whole process's for a topic. Raises ValueError where the
        step counts are too few to tell."""
        runs = self.of(side)
        if self.kind in STEPPED:
            first = self.of(side, self.steps[0])
            return [
                figures.per_step((few.steps, few.seconds), (many.steps, many.seconds))
                for few, many in zip(first, runs, strict=True)
            ]
        if self.kind == "prefix":
            return [inside for run in runs if (inside := figures.settled(run.outcome.step_seconds))]
        return [run.outcome.seconds if self.kind == "answers" else run.seconds for run in runs]

    def untold(self) -> str:
        """Why no seconds can be told, or nothing."""
        try:
            for side in self.sides:
                self.seconds(side)
        except ValueError as error:
            return str(error)
        return ""

    def inside(self, side: str) -> Spread | None:
        """A step as the side timed it itself; DPO's reference pass apart from it or in it."""
        found = [figures.settled(run.outcome.step_seconds) for run in self.of(side)]
        return Spread.of([one for one in found if one]) if all(found) else None

    def ratio(self, peer: str) -> Spread:
        """How many times as fast mindprint is; each of its runs against the peer's beside it."""
        return figures.ratios(self.seconds(self.sides[0]), self.seconds(peer))

    def above(self, side: str) -> Spread | None:
        """Bytes of the peak above the loaded model; None where a side does not tell."""
        found = [figures.above(run.outcome, self.device) for run in self.of(side)]
        known = [one for one in found if one is not None]
        return Spread.of(known) if len(known) == len(found) else None

    def last(self, side: str) -> Outcome:
        return self.of(side)[-1].outcome

    def proof(self, peer: str) -> Proof:
        """That both did the same work. Answers are compared by their number alone: random weights
        leave near ties, which the last digits of a sum decide."""
        ids = self.kind not in ("answers", "topic")
        return figures.proof(self.last(self.sides[0]), self.last(peer), ids=ids)

    def parted(self, peer: str) -> float | None:
        """The largest difference of a step's loss over the loss, both with the same rows in the
        same steps; None where it cannot be told."""
        ours, theirs = self.last(self.sides[0]), self.of(peer)
        if self.check is not None:
            ours, theirs = self.check.outcome, self.of(peer, self.check.steps)
        elif self.kind in STEPPED and self.order != "file":
            return None
        return figures.parted(ours, theirs[-1].outcome) if theirs else None

    def figures(self) -> dict[str, Any]:
        """What is read off the runs, for the JSON file; it is worked out anew when read back."""
        peers = self.sides[1:]
        timed = () if self.untold() else self.sides
        return {
            "seconds": {side: asdict(Spread.of(self.seconds(side))) for side in timed},
            "ratio": {peer: asdict(self.ratio(peer)) for peer in timed[1:]},
            "equal_work": {peer: asdict(self.proof(peer)) for peer in peers},
            "losses_parted": {peer: self.parted(peer) for peer in peers},
            "above_loaded": {
                side: found and asdict(found) for side in self.sides for found in [self.above(side)]
            },
        }

"""Whether a run fits: gradient checkpointing where that decides it, else what would fit."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from backends.contract import Choice
from backends.room import Room
from mindprint.errors import ConfigError
from mindprint.memory.branches import Branches, branches
from mindprint.memory.estimate import Estimate, Need
from mindprint.memory.operations import counted
from mindprint.memory.remedy import Command, Remedy, checkpoints, remedy
from mindprint.memory.room import MARGIN, fits, surely_not
from mindprint.plan import StageKind
from mindprint.report.words import operations, size

CHECK = "run.memory_check"
NATIVE = "native"


class TooLarge(ConfigError):
    """A run for which there is no room, and what would make it."""

    def __init__(self, what: str, found: Remedy, command: Command | None = None) -> None:
        where = found.settings[0].partition("=")[0] if found.settings else "model.path"
        hint = f"{found.told(command)}; `--set {CHECK}=warn` tries it all the same"
        super().__init__(what, where=where, hint=hint)
        self.found = found

    def by(self, command: Command) -> TooLarge:
        """The same for a run that has begun: `command` asks for another one."""
        return TooLarge(self.what, self.found, command)


@dataclass(frozen=True)
class Outlook:
    """`needs` by part, with `checkpointed` stages; `room` is None where nobody tells it. `refused`:
    why the run is not begun. `operations`: floating-point ones of training, by kind of stage.
    `engine`: who takes the steps; both figures are of native ones. `branches`: LS-LoRA's past."""

    needs: tuple[Need, ...]
    checkpointed: tuple[StageKind, ...]
    room: Room | None
    choices: tuple[Choice, ...]
    refused: TooLarge | None
    measured: bool
    operations: Mapping[StageKind, int] = field(default_factory=dict)
    engine: str = NATIVE
    branches: Branches | None = None

    @property
    def largest(self) -> Need:
        return max(self.needs, key=lambda need: need.total)

    def lines(self) -> list[tuple[str, str, str]]:
        """(what, value, note) for printing."""
        parts = [(f"memory, {need.part}", size(need.total), _made_of(need)) for need in self.needs]
        if self.room is None:
            there = ("memory there", "not known", "the device does not tell")
        else:
            there = ("memory there", size(self.room.size), self.room.told)
        rows = [*parts, there]
        if not fits(self.largest.total, self.room):
            within = f"its estimate may be off by {MARGIN:.0%}"
            rows.append(("memory", "may not fit", f"{self.largest.part}: {within}"))
        if not self.measured:
            rows.append(("memory", "not measured", "estimates were held against CPUs alone"))
        if self.engine != NATIVE:
            rows.append(("memory", "of native steps", f"`{self.engine}` takes more of its own"))
        if self.branches is not None:
            rows.append(self.branches.line())
        return [*rows, *self._work()]

    def _work(self) -> Iterator[tuple[str, str, str]]:
        if self.operations:
            each = (f"{kind} {operations(count)}" for kind, count in self.operations.items())
            whose = "" if self.engine == NATIVE else ", of native steps"
            note = f"floating-point, of training alone: {', '.join(each)}{whose}"
            yield ("operations", operations(sum(self.operations.values())), note)

    def as_json(self) -> dict[str, Any]:
        room = None if self.room is None else {"bytes": self.room.size, "told": self.room.told}
        parts = [need.as_json() for need in self.needs]
        found = {"parts": parts, "room": room, "steps_of": NATIVE}
        if self.branches is not None:
            found["branches"] = self.branches.as_json()
        return found


def outlook(estimate: Estimate, room: Room | None) -> Outlook:
    """Of a run; nothing is raised here, `refused` holds what would be."""
    checkpointed = tuple(kind for kind in estimate.kinds if checkpoints(estimate, kind, room))
    needs = estimate.needs(checkpointed)
    over = any(surely_not(need.total, room) for need in needs)
    return Outlook(
        needs=needs,
        checkpointed=checkpointed,
        room=room,
        choices=tuple(_choice(estimate, checkpointed, room)),
        refused=_refusal(estimate, needs, room) if over and room and _refuses(estimate) else None,
        measured=estimate.place.in_main_memory,
        operations=counted(estimate, checkpointed),
        engine=estimate.config.run.engine,
        branches=branches(estimate),
    )


def _choice(
    estimate: Estimate, kinds: tuple[StageKind, ...], room: Room | None
) -> Iterator[Choice]:
    if not kinds:
        return
    if estimate.config.model.gradient_checkpointing == "on" or room is None:
        yield Choice("on", "named", "gradient checkpointing")
        return
    plain = max(estimate.stage(kind).total for kind in kinds)
    because = f"without it {size(plain)}, and {size(room.size)} {room.told}"
    yield Choice(f"on for {' and '.join(kinds)}", because, "gradient checkpointing")


def _refuses(estimate: Estimate) -> bool:
    """A device of its own tells when it is full, and a run may go on in smaller batches then; main
    memory does not tell: the system ends the process."""
    run = estimate.config.run
    shrinks = run.on_oom == "shrink" and not estimate.place.in_main_memory
    return run.memory_check == "refuse" and not shrinks


def _refusal(estimate: Estimate, needs: Sequence[Need], room: Room) -> TooLarge:
    worst = max(needs, key=lambda need: need.total)
    what = (
        f"no room for {worst.part}: about {size(worst.total)} at most, "
        f"and there are {size(room.size)} {room.told}"
    )
    return TooLarge(what, remedy(estimate, needs, room))


def _made_of(need: Need) -> str:
    """What makes it up, as far as there is any."""
    passes = "answers" if need.part == "evaluation" else "a step"
    named = {
        "process": need.framework,
        "weights": need.weights,
        "adapters": need.adapters,
        passes: need.passes,
    }
    told = ", ".join(f"{name} {size(count)}" for name, count in named.items() if count)
    return f"at most: {told}{', gradient checkpointing' if need.checkpointing else ''}"

"""Whether a run fits: gradient checkpointing where that decides it, else what would fit."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from backends.contract import Choice
from backends.room import Room
from mindprint.errors import ConfigError
from mindprint.memory.estimate import Estimate, Need
from mindprint.memory.remedy import checkpoints, remedy
from mindprint.memory.room import MARGIN, fits, surely_not
from mindprint.plan import StageKind
from mindprint.report.words import size

CHECK = "run.memory_check"


class TooLarge(ConfigError):
    """A run for which there is no room."""


@dataclass(frozen=True)
class Outlook:
    """`needs` by part, with `checkpointed` stages; `room` is None where nobody tells it. `refused`:
    why the run is not begun."""

    needs: tuple[Need, ...]
    checkpointed: tuple[StageKind, ...]
    room: Room | None
    choices: tuple[Choice, ...]
    refused: TooLarge | None
    measured: bool

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
        return rows

    def as_json(self) -> dict[str, Any]:
        room = None if self.room is None else {"bytes": self.room.size, "told": self.room.told}
        return {"parts": [need.as_json() for need in self.needs], "room": room}


def outlook(estimate: Estimate, room: Room | None) -> Outlook:
    """Of a run; nothing is raised here, `refused` holds what would be."""
    checkpointed = tuple(kind for kind in estimate.kinds if checkpoints(estimate, kind, room))
    needs = estimate.needs(checkpointed)
    over = [need for need in needs if surely_not(need.total, room)]
    return Outlook(
        needs=needs,
        checkpointed=checkpointed,
        room=room,
        choices=tuple(_choice(estimate, checkpointed, room)),
        refused=_refusal(estimate, over, room) if over and room and _refuses(estimate) else None,
        measured=estimate.place.in_main_memory,
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


def _refusal(estimate: Estimate, over: list[Need], room: Room) -> TooLarge:
    worst = max(over, key=lambda need: need.total)
    what = (
        f"no room for {worst.part}: about {size(worst.total)} at most, "
        f"and there are {size(room.size)} {room.told}"
    )
    found = remedy(estimate, over, room)
    where = _where(worst) if found.settings else "model.path"
    return TooLarge(what, where=where, hint=f"{found}; `--set {CHECK}=warn` tries it all the same")


def _where(need: Need) -> str:
    return "eval.max_tokens" if need.part == "evaluation" else f"{need.part}.batch_size"


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

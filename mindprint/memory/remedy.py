"""What to change in a run so that it fits: the largest batch, the longest rows."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from backends.room import Room
from mindprint.memory.estimate import Estimate, Need
from mindprint.memory.room import fits, surely_not
from mindprint.memory.work import shortest
from mindprint.plan import StageKind, pairs_of
from mindprint.tokens.rows import Row

CHECKPOINTING = "model.gradient_checkpointing"
FEWEST = 8
"""Tokens below which nothing is suggested."""


@dataclass(frozen=True)
class Remedy:
    """`settings` with which everything fits, () where none were found; `beside` says what else."""

    settings: tuple[str, ...]
    beside: str

    def __str__(self) -> str:
        if not self.settings:
            return self.beside
        words = shlex.join(word for one in self.settings for word in ("--set", one))
        return f"the largest that fits: `{words}`{self.beside}"


def remedy(estimate: Estimate, over: Sequence[Need], room: Room) -> Remedy:
    """For the parts that are too large."""
    found = [_settings(estimate, need, room) for need in over]
    if not all(found):
        return Remedy((), _smaller(estimate, room))
    settings = dict(one.split("=") for own in found for one in own)
    limits = [int(one.partition("=")[2]) for own in found for one in own if "sft.max_tokens" in one]
    if limits:  # both kinds of stages go by it
        settings["sft.max_tokens"] = str(min(limits))
    return Remedy(tuple(map("=".join, settings.items())), _instead(estimate, over, room))


def checkpoints(estimate: Estimate, kind: StageKind, room: Room | None) -> bool:
    """Whether a stage trains with gradient checkpointing: as the settings say, and of itself only
    where that decides whether it fits."""
    config = estimate.config
    mode = config.model.gradient_checkpointing
    if mode != "auto" or config.run.engine != "native":
        return mode == "on"
    plain = estimate.stage(kind).total
    if fits(plain, room):
        return False
    saving = estimate.stage(kind, checkpointing=True).total
    return fits(saving, room) or (surely_not(plain, room) and not surely_not(saving, room))


def _settings(estimate: Estimate, need: Need, room: Room) -> list[str]:
    """Settings with which a part fits, [] where there are none."""
    if need.part == "evaluation":
        tokens = _longest_answer(estimate, room)
        return [f"eval.max_tokens={tokens}"] if tokens else []
    kind: StageKind = "sft" if need.part == "sft" else "dpo"
    section = estimate.config.sft if kind == "sft" else estimate.config.dpo
    effective = section.batch_size * section.accumulate
    for rows in range(section.batch_size - 1, 0, -1):
        if effective % rows:
            continue
        smaller = _with(estimate, kind, batch_size=rows, accumulate=effective // rows)
        if _fits(smaller, kind, room):
            return [f"{kind}.batch_size={rows}", f"{kind}.accumulate={effective // rows}"]
    alone = _with(estimate, kind, batch_size=1, accumulate=effective)
    tokens = _longest_row(alone, kind, room)
    if not tokens:
        return []
    pieces = [f"{kind}.batch_size=1", f"{kind}.accumulate={effective}"]
    return [*pieces, f"sft.max_tokens={tokens}"]


def _fits(estimate: Estimate, kind: StageKind, room: Room) -> bool:
    ways = {False, checkpoints(estimate, kind, room)}
    if estimate.config.model.gradient_checkpointing == "on":
        ways = {True}
    return any(fits(estimate.stage(kind, checkpointing=way).total, room) for way in ways)


def _longest_row(estimate: Estimate, kind: StageKind, room: Room) -> int:
    """The largest `sft.max_tokens` with which a stage fits and every row still trains; 0 if none.
    Rows lose their ends and no more, so that what fits is found by halving."""
    lessons = estimate.plan.lessons
    rows: list[Row] = [row for one in lessons for row in one.rows]
    for one in lessons:
        rows += [row for p in pairs_of(one, estimate.config) for row in (p.chosen, p.rejected)]
    least = max(FEWEST, shortest(rows))
    most = min(estimate.config.sft.max_tokens, max(len(row.ids) for row in rows))

    def fitting(tokens: int) -> bool:
        return _fits(replace(estimate, limit=tokens), kind, room)

    return _largest(least, most, fitting)


def _longest_answer(estimate: Estimate, room: Room) -> int:
    config, plan = estimate.config, estimate.plan

    def fitting(tokens: int) -> bool:
        shorter = config.eval.model_copy(update={"max_tokens": tokens})
        longest = plan.longest_asked - config.eval.max_tokens + tokens
        other = replace(
            estimate,
            config=config.model_copy(update={"eval": shorter}),
            plan=replace(plan, longest_asked=longest),
        )
        return fits(other.evaluation().total, room)

    return _largest(FEWEST, config.eval.max_tokens, fitting)


def _largest(least: int, most: int, fitting: Callable[[int], bool]) -> int:
    """The largest of `least` to `most` that is fitting, 0 if none; what fits, fits below too."""
    if least > most or not fitting(least):
        return 0
    while least < most:
        middle = (least + most + 1) // 2
        least, most = (middle, most) if fitting(middle) else (least, middle - 1)
    return least


def _instead(estimate: Estimate, over: Sequence[Need], room: Room) -> str:
    """Gradient checkpointing, where it was forbidden and would do."""
    config = estimate.config
    if config.model.gradient_checkpointing != "off" or config.run.engine != "native":
        return ""
    kinds: list[StageKind] = [kind for kind in estimate.kinds if kind in {n.part for n in over}]
    if len(kinds) != len(over):
        return ""
    saved = (estimate.stage(kind, checkpointing=True).total for kind in kinds)
    return f", or `--set {CHECKPOINTING}=on`" if all(fits(one, room) for one in saved) else ""


def _smaller(estimate: Estimate, room: Room) -> str:
    """Where no setting of a stage would do."""
    place = estimate.place
    weights = estimate.shape.weights("bfloat16")
    if place.dtype == "float32" and estimate.evaluation().framework + weights < room.size:
        return "use a smaller model, or `--set model.dtype=bfloat16` and `sft.batch_size=1`"
    return "use a smaller model"


def _with(estimate: Estimate, kind: StageKind, **values: int) -> Estimate:
    config = estimate.config
    section = getattr(config, kind).model_copy(update=values)
    return replace(estimate, config=config.model_copy(update={kind: section}))

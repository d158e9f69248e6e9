"""What to change in a run so that it fits: the largest batch, the longest rows."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from backends.room import Room
from mindprint.memory.estimate import Estimate, Need
from mindprint.memory.room import fits, surely_not
from mindprint.memory.work import shortest
from mindprint.plan import StageKind, pairs_of
from mindprint.tokens.rows import Row

CHECKPOINTING = "model.gradient_checkpointing"
HALF = "bfloat16"
FEWEST = 8
"""Tokens below which nothing is suggested."""

Enough = Callable[[int], bool]
"""Whether so many bytes are few enough."""

Command = Callable[[Sequence[str]], str]
"""The command that asks for a run with these words besides."""


@dataclass(frozen=True)
class Remedy:
    """`settings` with which the run is not refused, () where there are none: by the estimate all of
    it fits where it is `sure`, else it may. `beside` says what else would do."""

    settings: tuple[str, ...]
    beside: str
    sure: bool = True

    def told(self, command: Command | None = None) -> str:
        """For a hint; `command` where no run that has begun can take such settings up."""
        if not self.settings:
            return self.beside
        what = "the largest that fits" if self.sure else "what may fit"
        if command is None:
            return f"{what}: {_typed(self.settings)}{self.beside}"
        return f"{what}, in a new run: {command(_options(self.settings))}{self.beside}"


def remedy(estimate: Estimate, needs: Sequence[Need], room: Room) -> Remedy:
    """For those of all parts that are surely too large. First what fits by the estimate, as the
    weights are opened now or else in half their size; then what its margin leaves open."""
    for sure in (True, False):
        for other, own, parts in _precisions(estimate, needs, room):
            found = _of_parts(other, parts, room, sure)
            if all(settings for _, settings in found):
                mended = [need.part for need in _over(parts, room)]
                rest = all(fits(need.total, room) for need in parts if need.part not in mended)
                if own and sure and not rest:
                    continue  # other weights for nothing sure
                beside = _instead(other, mended, room) if not own else ""
                return Remedy((*own, *_together(found)), beside, sure and rest)
    return _of_some(estimate, needs, room)


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


def _of_some(estimate: Estimate, needs: Sequence[Need], room: Room) -> Remedy:
    """Where no settings make room for all parts: what would do, and what makes room for some."""
    kinds = [need.part for need in _over(needs, room)]
    saving = _instead(estimate, kinds, room)
    if saving:
        return Remedy((), saving.removeprefix(", or "))
    found = _of_parts(estimate, needs, room, sure=False)
    none = [part for part, settings in found if not settings]
    some = [(part, settings) for part, settings in found if settings]
    told = f"use a smaller model: no setting makes room for {' and '.join(none)}"
    if some:
        parts = " and ".join(part for part, _ in some)
        told += f"; {_typed(_together(some))} makes room for {parts} alone"
    return Remedy((), told)


def _precisions(
    estimate: Estimate, needs: Sequence[Need], room: Room
) -> Iterator[tuple[Estimate, tuple[str, ...], Sequence[Need]]]:
    """The run with its needs as it is, and with weights of half the size and the setting that asks
    for them."""
    yield estimate, (), needs
    if estimate.place.dtype == "float32":
        half = _with(estimate, "model", dtype=HALF)
        half = replace(half, place=replace(estimate.place, dtype=HALF))
        checkpointed = [kind for kind in half.kinds if checkpoints(half, kind, room)]
        yield half, (f"model.dtype={HALF}",), half.needs(checkpointed)


def _over(needs: Sequence[Need], room: Room) -> list[Need]:
    """Those that are surely too large, the largest first."""
    over = [need for need in needs if surely_not(need.total, room)]
    return sorted(over, key=lambda need: -need.total)


def _of_parts(
    estimate: Estimate, needs: Sequence[Need], room: Room, sure: bool
) -> list[tuple[str, list[str]]]:
    """Settings for each part that is too large, [] where there are none: those with which it fits,
    and unless it has to be `sure`, those with which it may."""
    found = []
    for need in _over(needs, room):
        settings = _settings(estimate, need.part, room, lambda size: fits(size, room))
        if not settings and not sure:
            settings = _settings(estimate, need.part, room, lambda s: not surely_not(s, room))
        found.append((need.part, settings))
    return found


def _together(found: Sequence[tuple[str, Sequence[str]]]) -> tuple[str, ...]:
    """Both kinds of stages go by the shorter `sft.max_tokens`."""
    settings: dict[str, str] = {}
    for key, _, value in (one.partition("=") for _, own in found for one in own):
        shorter = key == "sft.max_tokens" and key in settings
        settings[key] = str(min(int(settings[key]), int(value))) if shorter else value
    return tuple(map("=".join, settings.items()))


def _settings(estimate: Estimate, part: str, room: Room, enough: Enough) -> list[str]:
    """Settings with which a part takes little enough, [] where there are none."""
    if part == "evaluation":
        return _answering(estimate, enough)
    kind: StageKind = "sft" if part == "sft" else "dpo"
    section = estimate.config.sft if kind == "sft" else estimate.config.dpo
    effective = section.batch_size * section.accumulate
    for rows in range(section.batch_size - 1, 0, -1):
        if effective % rows:
            continue
        smaller = _with(estimate, kind, batch_size=rows, accumulate=effective // rows)
        if _takes(smaller, kind, room, enough):
            return [f"{kind}.batch_size={rows}", f"{kind}.accumulate={effective // rows}"]
    alone = _with(estimate, kind, batch_size=1, accumulate=effective)
    tokens = _longest_row(alone, kind, room, enough)
    if not tokens:
        return []
    pieces = [f"{kind}.batch_size=1", f"{kind}.accumulate={effective}"]
    return [*pieces, f"sft.max_tokens={tokens}"]


def _answering(estimate: Estimate, enough: Enough) -> list[str]:
    """Without the few-shot baseline, whose prompts are the longest by far; else shorter answers."""
    section = estimate.config.eval

    def longest(few_shot: int) -> int:
        def fitting(tokens: int) -> bool:
            other = _with(estimate, "eval", few_shot=few_shot, max_tokens=tokens)
            return enough(other.evaluation().total)

        return _largest(min(FEWEST, section.max_tokens), section.max_tokens, fitting)

    most, without = longest(section.few_shot), longest(0)
    shorter = [f"eval.max_tokens={without}"] if 0 < without < section.max_tokens else []
    dropped = ["eval.few_shot=0"] if without > most else []
    return [*dropped, *shorter]


def _takes(estimate: Estimate, kind: StageKind, room: Room, enough: Enough) -> bool:
    ways = {False, checkpoints(estimate, kind, room)}
    if estimate.config.model.gradient_checkpointing == "on":
        ways = {True}
    return any(enough(estimate.stage(kind, checkpointing=way).total) for way in ways)


def _longest_row(estimate: Estimate, kind: StageKind, room: Room, enough: Enough) -> int:
    """The largest `sft.max_tokens` with which a stage fits and every row still trains; 0 if none.
    Rows lose their ends and no more, so that what fits is found by halving."""
    lessons = estimate.plan.lessons
    rows: list[Row] = [row for one in lessons for row in one.rows]
    for one in lessons:
        rows += [row for p in pairs_of(one, estimate.config) for row in (p.chosen, p.rejected)]
    least = max(FEWEST, shortest(rows))
    most = min(estimate.config.sft.max_tokens, max(len(row.ids) for row in rows))

    def fitting(tokens: int) -> bool:
        return _takes(replace(estimate, limit=tokens), kind, room, enough)

    return _largest(least, most, fitting)


def _largest(least: int, most: int, fitting: Callable[[int], bool]) -> int:
    """The largest of `least` to `most` that is fitting, 0 if none; what fits, fits below too."""
    if least > most or not fitting(least):
        return 0
    while least < most:
        middle = (least + most + 1) // 2
        least, most = (middle, most) if fitting(middle) else (least, middle - 1)
    return least


def _instead(estimate: Estimate, over: Sequence[str], room: Room) -> str:
    """Gradient checkpointing, where it was forbidden and would do."""
    config = estimate.config
    if config.model.gradient_checkpointing != "off" or config.run.engine != "native":
        return ""
    kinds: list[StageKind] = [kind for kind in estimate.kinds if kind in over]
    if len(kinds) != len(over):
        return ""
    saved = (estimate.stage(kind, checkpointing=True).total for kind in kinds)
    return f", or `--set {CHECKPOINTING}=on`" if all(fits(one, room) for one in saved) else ""


def _options(settings: Sequence[str]) -> list[str]:
    return [word for one in settings for word in ("--set", one)]


def _typed(settings: Sequence[str]) -> str:
    return f"`{shlex.join(_options(settings))}`"


def _with(estimate: Estimate, part: str, **values: Any) -> Estimate:
    """With other values in a section of the settings."""
    config = estimate.config
    section = getattr(config, part).model_copy(update=values)
    return replace(estimate, config=config.model_copy(update={part: section}))

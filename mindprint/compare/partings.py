"""Where two runs part: each stage's figures against the first run's, step by step.

The bounds are what the same float32 run on another framework keeps to. SFT: 1e-5 of the loss. DPO:
1e-4 of the loss, or of 0.1 where that is more, since a DPO loss goes to 0 while the sums of
log-probabilities in it keep their rounding. Margins: 1e-4 of the margin, or of 1: the loss's slope
by the margin is at most 1, so that a margin within 1e-4 moves no loss by more than 1e-4.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from mindprint.compare.claims import claims
from mindprint.compare.curves import MEASURES, figures, places
from mindprint.compare.guesses import Moment, guess
from mindprint.compare.model import FirstParting, Measure, Parting, StageKind
from mindprint.compare.run import Place, Run

SFT_LOSS = 1e-5
DPO_LOSS = 1e-4
MARGIN = 1e-4

DPO_LOSS_FLOOR = 0.1
MARGIN_FLOOR = 1.0
SMALLEST = 1e-30
"""An SFT loss of exactly 0 has no relative distance of its own."""


@dataclass(frozen=True)
class Series:
    """How far one run's figure is from the first's at each step that both have, as its bound
    measures it; `bound` is None where none can be claimed, `because` of what. `ended`: the first
    step that one of them alone took before the stage was over."""

    place: Place
    measure: Measure
    apart: tuple[tuple[int, float], ...]
    bound: float | None
    because: str
    ended: int | None = None

    @property
    def leaves(self) -> int | None:
        """The first step at which the runs are not alike any more: beyond the bound, or of one
        alone; None where no bound is claimed or they are alike throughout."""
        steps = [step for step in (self.parted, self.ended) if step is not None]
        return min(steps) if steps and self.bound is not None else None

    @property
    def parted(self) -> int | None:
        """The first step beyond the bound."""
        bound = self.bound
        if bound is None:
            return None
        return next((step for step, apart in self.apart if not apart <= bound), None)

    def upto(self, step: int) -> float:
        """The most it was apart before `step`, over its bound."""
        before = [apart for at, apart in self.apart if at < step]
        return max(before, default=0.0) / self.bound if self.bound else 0.0

    def at(self, step: int) -> float:
        return dict(self.apart)[step]


def distance(stage: StageKind, measure: Measure, here: float, there: float) -> float:
    """How far `there` is from `here`, the first run's, relative as the bound of it goes."""
    if measure == "margin":
        scale = max(abs(here), MARGIN_FLOOR)
    elif stage == "dpo":
        scale = max(abs(here), DPO_LOSS_FLOOR)
    else:
        scale = max(abs(here), SMALLEST)
    return abs(there - here) / scale


def bound_of(stage: StageKind, measure: Measure) -> float:
    if measure == "margin":
        return MARGIN
    return SFT_LOSS if stage == "sft" else DPO_LOSS


def series(first: Run, other: Run) -> list[Series]:
    """Of every stage that both have, in the order of the first run."""
    why, found = claims(first, other), []
    for place in places([first]):
        if place not in other.stages:
            continue
        for measure in MEASURES:
            here, there = (figures(run.stages[place], measure) for run in (first, other))
            steps = sorted(here.keys() & there.keys())
            if not steps:
                continue
            apart = [(s, distance(place.stage, measure, here[s], there[s])) for s in steps]
            bound = None if why[place] else bound_of(place.stage, measure)
            ended = None
            if place not in (first.in_hand, other.in_hand):
                ended = min(here.keys() ^ there.keys(), default=None)
            found.append(Series(place, measure, tuple(apart), bound, why[place], ended))
    return found


def parting(run: str, one: Series) -> Parting:
    worst_step, worst = max(one.apart, key=lambda point: point[1])
    return Parting(
        run=run,
        topic=one.place.topic,
        stage=one.place.stage,
        attempt=one.place.attempt,
        measure=one.measure,
        steps=len(one.apart),
        bound=one.bound,
        step=one.parted,
        worst=worst,
        worst_step=worst_step,
        because=one.because,
        ended=one.ended,
    )


def first_parting(first: Run, other: Run, found: list[Series]) -> FirstParting | None:
    """The earliest step beyond a bound, in the order of the run; None where there is none."""
    grown = 0.0
    for number, stage in enumerate(_by_stage(found)):
        steps = [one.leaves for one in stage if one.leaves is not None]
        if not steps:
            grown = max(grown, *(one.upto(one.apart[-1][0] + 1) for one in stage))
            continue
        step = min(steps)
        parted = [one for one in stage if one.parted == step]
        if not parted:
            alone = next(one for one in stage if one.leaves == step)
            return _first(first, other, alone, step, _ended(first, other, alone, step))
        moment = _moment(first, other, stage, step, number, grown)
        return _first(first, other, parted[0], step, guess(moment))
    return None


def _ended(first: Run, other: Run, one: Series, step: int) -> str:
    """Which of the two took no such step, and why where it is known."""
    lacks = next(
        run for run in (first, other) if step not in figures(run.stages[one.place], one.measure)
    )
    stopped = lacks.stages[one.place].stopped
    because = f" ({stopped.rstrip('.')})" if stopped else ""
    return f"`{lacks.name}` took no such step{because}"


def _by_stage(found: list[Series]) -> Iterator[list[Series]]:
    """Loss and margin of one stage together."""
    for place in dict.fromkeys(one.place for one in found):
        yield [one for one in found if one.place == place]


def _moment(
    first: Run, other: Run, stage: list[Series], step: int, number: int, grown: float
) -> Moment:
    place = stage[0].place
    here, there = first.stages[place], other.stages[place]
    apart = max(one.at(step) / one.bound for one in stage if one.bound)
    per_epoch = here.steps // here.epochs if here.epochs and not here.stopped else 0
    return Moment(
        stage=place.stage,
        step=step,
        begins=number == 0,
        before=max(grown, *(one.upto(step) for one in stage)),
        apart=apart,
        margin=any(one.measure == "margin" and one.parted == step for one in stage),
        epoch_begins=bool(per_epoch) and (step - 1) % per_epoch == 0,
        skipped=here.skipped_steps != there.skipped_steps,
        kept_otherwise=_kept_otherwise(first, other, place),
    )


def _kept_otherwise(first: Run, other: Run, place: Place) -> bool:
    """Whether a stage before this one ended at the values of another epoch."""
    for earlier in first.stages:
        if earlier == place:
            break
        if earlier in other.stages:
            here, there = first.stages[earlier], other.stages[earlier]
            if (here.kept_epoch, here.stopped) != (there.kept_epoch, there.stopped):
                return True
    return False


def _first(first: Run, other: Run, one: Series, step: int, said: str) -> FirstParting:
    place = one.place
    number = [topic.id for topic in first.topics].index(place.topic)
    title = first.topics[number].title
    again = f", attempt {place.attempt + 1}" if place.attempt else ""
    return FirstParting(
        run=other.name,
        topic=place.topic,
        stage=place.stage,
        step=step,
        measure=one.measure,
        apart=one.at(step) if step == one.parted else None,
        bound=bound_of(place.stage, one.measure),
        where=f"step {step} of {place.stage.upper()}{again} of topic {number + 1}, {title}",
        guess=said,
        attempt=place.attempt,
    )

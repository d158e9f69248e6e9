"""What of two runs was not held to any bound: stages of one alone, unequal, without a claim."""

from __future__ import annotations

from collections.abc import Iterator

from mindprint.compare.claims import claims
from mindprint.compare.curves import figures, places
from mindprint.compare.model import Gap
from mindprint.compare.run import Place, Run


def gaps(first: Run, other: Run) -> tuple[Gap, ...]:
    """All of it, the runs as a whole before their stages."""
    return (*_whole(first, other), *_stages(first, other))


def unequal_courses(first: Run, other: Run) -> Iterator[str]:
    """Stages that only one of two runs took of topics that both finished, and those of unequal
    length: what is said aloud. A run that is not finished lacks later ones, and says so."""
    taken = [{topic.id for topic in run.topics if topic.stages} for run in (first, other)]
    for gap in _stages(first, other):
        both = all(gap.topic in one for one in taken)
        if gap.kind == "unequal" or (gap.kind == "missing" and both):
            yield gap.told


def _whole(first: Run, other: Run) -> Iterator[Gap]:
    for run in (first, other):
        for topic in run.dropped:
            told = f"`{topic}` was dropped from `{run.name}`"
            yield Gap(run=other.name, kind="dropped", topic=topic, told=told)
    for run in (first, other):
        if run.result.status != "finished":
            told = f"`{run.name}` is not finished"
            yield Gap(run=other.name, kind="unfinished", topic="", told=told)
    if not set(first.stages) & set(other.stages):
        told = f"no step of `{other.name}` could be held to a bound"
        yield Gap(run=other.name, kind="missing", topic="", told=told)


def _stages(first: Run, other: Run) -> Iterator[Gap]:
    why = claims(first, other)
    for place in places([first, other]):
        kind, told = "missing", ""
        if place not in why:
            has, lacks = (first, other) if place in first.stages else (other, first)
            told = f"`{has.name}` trained {named(place)}, `{lacks.name}` did not"
        elif odd := _unequal(first, other, place):
            kind, told = "unequal", odd
        elif why[place]:
            kind, told = "unbound", f"{named(place)} is held to no bound: {why[place]}"
        if told:
            yield Gap.model_validate(
                {"run": other.name, "kind": kind, "topic": place.topic, "told": told}
            )


def _unequal(first: Run, other: Run, place: Place) -> str:
    """Steps that one of them has no figure of, in words; "" where there is none."""
    here, there = first.stages[place], other.stages[place]
    alike = figures(here, "loss").keys() == figures(there, "loss").keys()
    if here.steps == there.steps and alike:
        return ""
    return (
        f"{named(place)} has {_steps(first, place)} in `{first.name}`, "
        f"{_steps(other, place)} in `{other.name}`"
    )


def _steps(run: Run, place: Place) -> str:
    """`120 steps`; of the stage in hand, so far."""
    steps = run.stages[place].steps
    return f"{steps} steps{' so far' if place == run.in_hand else ''}"


def named(place: Place) -> str:
    """`SFT of `topic``, and which attempt where it is not the first."""
    again = f", attempt {place.attempt + 1}," if place.attempt else ""
    return f"{place.stage.upper()}{again} of `{place.topic}`"

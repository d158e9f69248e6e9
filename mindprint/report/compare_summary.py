"""What a comparison comes to: whether the runs keep to each other, and the figures that say so."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from mindprint.compare.model import Comparison, Curve, Distance, FirstParting, Parting
from mindprint.report import compare_words as said
from mindprint.report.words import NONE, several, whole


@dataclass(frozen=True)
class Fact:
    """A figure of the page's head, and what it is a figure of. `kind`: how it is coloured."""

    name: str
    value: str
    told: str
    kind: str = ""


def apart(comparison: Comparison) -> tuple[str, ...]:
    """The runs that leave the first one beyond a bound, in order."""
    gone = {one.run for one in comparison.first}
    gone |= {one.run for one in comparison.partings if one.step is not None}
    gone |= {one.run for one in comparison.partings if one.bound and one.ended is not None}
    return tuple(side.name for side in comparison.runs if side.name in gone)


def unbound(comparison: Comparison) -> tuple[str, ...]:
    """The runs of which no stage could be held against a bound, in order."""
    held = {one.run for one in comparison.partings if one.bound is not None}
    return tuple(side.name for side in comparison.runs[1:] if side.name not in held)


def kept(comparison: Comparison) -> bool:
    """Whether every step, stage and adapter of every run was held to a bound and is within it."""
    return not (apart(comparison) or unbound(comparison) or comparison.gaps or far(comparison))


def far(comparison: Comparison) -> tuple[Distance, ...]:
    """Adapters that are further from the first run's than their bound."""
    return tuple(one for one in comparison.distances if one.past)


def broken(comparison: Comparison) -> tuple[str, ...]:
    """Everything by which a run does not keep to the first, or cannot be said to."""
    reference, free = comparison.runs[0].name, unbound(comparison)
    told = [f"{name} leaves {reference} beyond a bound" for name in apart(comparison)]
    told += [f"no step of {name} could be held to a bound" for name in free]
    told += [_far(comparison, one) for one in far(comparison)]
    gaps = [
        f"{one.run}: {one.told}"
        for one in comparison.gaps
        if not (one.run in free and one.kind in ("unbound", "missing") and not one.topic)
    ]
    return (*told, *gaps)


def _far(comparison: Comparison, one: Distance) -> str:
    of = f", {said.title(comparison, one.topic)}," if one.topic else ""
    apart = f"{said.distance(one.relative)} of the update apart"
    return f"the adapters of {one.run}{of} are {apart}, the bound is {said.distance(one.bound)}"


def bounded(comparison: Comparison) -> bool:
    """Whether any stage of any run is held to a bound."""
    return any(one.bound is not None for one in comparison.partings)


def headline(comparison: Comparison) -> str:
    """The page's title: `mlx, torch and trl`."""
    *names, last = (side.name for side in comparison.runs)
    return f"{', '.join(names)} and {last}" if names else last


def facts(comparison: Comparison) -> tuple[Fact, ...]:
    """The worst of all runs, each against the first."""
    return (_kept(comparison), _answers(comparison), _adapters(comparison), _scores(comparison))


def _kept(comparison: Comparison) -> Fact:
    gone, free = apart(comparison), unbound(comparison)
    if gone and comparison.first:
        one = _earliest(comparison)
        rest = [name for name in gone if name != one.run]
        told = f"{one.run}: {one.where}" + (f"; later {', '.join(rest)}" if rest else "")
        return Fact("Steps", f"part at step {whole(one.step)}", told, "failed")
    if gone:
        return Fact("Steps", "part", ", ".join(gone), "failed")
    if free:
        return Fact("Steps", NONE, f"no bound is claimed for {', '.join(free)}")
    worst = max((one.worst for one in comparison.partings if one.bound), default=0.0)
    steps = sum(one.steps for one in comparison.partings if one.measure == "loss" and one.bound)
    value = f"≤ {said.distance(worst)} apart" if worst else "equal"
    told = f"every loss and margin of {several(steps, 'step')} within its bound"
    if gaps := comparison.gaps:
        more = f", and {len(gaps) - 1} more" if len(gaps) > 1 else ""
        return Fact("Steps", value, f"{told}; not all could be compared: {gaps[0].told}{more}")
    return Fact("Steps", value, told, "passed")


def _earliest(comparison: Comparison) -> FirstParting:
    """Of all runs, in the order of the course."""
    course = [(one.topic, one.stage, one.attempt) for one in comparison.curves]

    def place(one: FirstParting) -> tuple[int, int]:
        stage = (one.topic, one.stage, one.attempt)
        return course.index(stage) if stage in course else len(course), one.step

    return min(comparison.first, key=place)


def _answers(comparison: Comparison) -> Fact:
    found = [one for one in comparison.agreement if one.state == "final" and one.words]
    if not found:
        return Fact("Greedy answers", NONE, "no answers to the same questions")
    worst = min(found, key=lambda one: one.positions / one.words)
    tenths = worst.positions * 1000 // worst.words
    whole_ones = f"{whole(worst.same)} of {several(worst.answers, 'answer')} equal throughout"
    told = f"words equal at their place; {whole_ones}"
    return Fact("Greedy answers", f"{tenths // 10}.{tenths % 10}\u00a0% equal", told)


def _adapters(comparison: Comparison) -> Fact:
    found = [one for one in comparison.distances if not one.topic]
    known = [one.relative for one in found if one.relative is not None]
    if not known:
        because = next((one.because for one in found if one.because), "they cannot be compared")
        return Fact("Adapters", NONE, because)
    rest = (f"; {one.run}: {one.because}" for one in found if one.relative is None)
    told = "".join(("over the norm of the update", *rest))
    kind = "failed" if any(one.past for one in found) else ""
    return Fact("Adapters", f"{said.distance(max(known))} apart", told, kind)


def _scores(comparison: Comparison) -> Fact:
    found = [one for one in comparison.overall if one.accuracy is not None]
    if not found:
        why = "no topic that both finished"
        if any(side.dropped for side in comparison.runs):
            why = "a topic was dropped: not the scores of one state"
        elif not comparison.paired:
            why = "the quizzes are not the same questions"
        return Fact("Accuracy", NONE, why)
    worst = max(found, key=lambda one: abs(one.accuracy.value if one.accuracy else 0.0))
    value, _, rest = said.changed(worst.accuracy).partition(" ")
    told = f"{worst.run} over {comparison.runs[0].name}, 95 % interval {rest}"
    return Fact("Accuracy", value, told + ("" if comparison.paired else "; not all are paired"))


@dataclass(frozen=True)
class Lesson:
    """A topic's curves, and how each kept to the first run's."""

    topic: str
    title: str
    curves: tuple[Curve, ...]
    partings: tuple[Parting, ...]


def lessons(comparison: Comparison) -> Iterator[Lesson]:
    """Topics that have curves, in the order of the curves."""
    for topic in dict.fromkeys(curve.topic for curve in comparison.curves):
        yield Lesson(
            topic=topic,
            title=said.title(comparison, topic),
            curves=tuple(one for one in comparison.curves if one.topic == topic),
            partings=tuple(one for one in comparison.partings if one.topic == topic),
        )


def bound(comparison: Comparison, curve: Curve) -> float | None:
    """The bound that a curve is held to; None where none is claimed."""
    found = (
        one.bound
        for one in comparison.partings
        if (one.topic, one.stage, one.attempt, one.measure)
        == (curve.topic, curve.stage, curve.attempt, curve.measure)
    )
    return next((one for one in found if one is not None), None)


def first_parting(comparison: Comparison) -> tuple[str, ...]:
    """Where each run leaves the first, and a guess at what makes runs part there."""
    return tuple(said.first(one) for one in comparison.first)

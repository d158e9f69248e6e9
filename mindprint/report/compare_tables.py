"""The tables of a comparison, the same on the page, in Markdown and in a terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import groupby

from mindprint.compare.model import Comparison, Curve, Parting, StageFigures, TopicScores
from mindprint.report import compare_words as said
from mindprint.report.text import Table
from mindprint.report.words import NONE, figure, seconds, several, share, size, whole

CURVE_ROWS = 12
TIMES = {"opening": "opening the model", "training": "training", "evaluation": "evaluation"}


def differences(comparison: Comparison) -> Table:
    """What is not the same in all runs, a column per run."""
    rows = tuple(
        (one.kind, one.key, *(value or NONE for value in one.values))
        for one in comparison.differences
    )
    return Table(("of", "what", *_names(comparison)), rows)


def runs(comparison: Comparison) -> Table:
    """What each run is and how it ended."""
    rows = tuple(
        (
            side.name,
            said.makes(side),
            side.model,
            side.status,
            f"{side.passed} of {side.topics}",
            share(side.accuracy),
            share(side.voice),
        )
        for side in comparison.runs
    )
    head = (
        "run",
        "made by",
        "model",
        "status",
        "passed",
        "accuracy, mean of topics",
        "voice, mean of topics",
    )
    return Table(head, rows, frozenset({4, 5, 6}))


def scores(comparison: Comparison) -> Table:
    """Each topic under each run, and the paired differences from the first."""
    rows = [row for topic in comparison.topics for row in _topic(topic)]
    others = comparison.overall
    blank = ("",) * len(comparison.runs)
    if any(one.accuracy for one in others):
        told = (said.changed(one.accuracy) for one in others)
        rows.append(("all topics", "accuracy", *blank, *told))
    if any(one.markers for one in others):
        rows.append(("", "markers", *blank, *(said.changed(one.markers) for one in others)))
    if any(any(one.voice) for one in others):
        first = said.reading(next((one.voice[0] for one in others if one.voice[0]), None))
        ends = (said.reading(one.voice[1]) for one in others)
        told = (said.changed(one.voice_change) for one in others)
        rows.append(("", "voice of the run at its end", first, *ends, *told))
    names = _names(comparison)
    head = ("topic", "measure", *names, *(f"{name} − {names[0]}" for name in names[1:]))
    return Table(head, tuple(rows), frozenset())


def _topic(topic: TopicScores) -> Iterator[tuple[str, ...]]:
    marks = ("" if state == "passed" else f" {state}" if state else "" for state in topic.status)
    values = (share(value) + mark for value, mark in zip(topic.accuracy, marks, strict=True))
    yield (topic.title, "accuracy", *values, *map(said.changed, topic.accuracy_changes))
    pairs = zip(topic.voice, topic.voice_intervals, strict=True)
    voices = tuple(said.around(value, ends) for value, ends in pairs)
    yield ("", "voice", *voices, *map(said.changed, topic.voice_changes))
    if any(topic.markers_changes):
        blank = ("",) * len(topic.accuracy)
        yield ("", "markers", *blank, *map(said.changed, topic.markers_changes))


def partings(comparison: Comparison) -> Table:
    """Every stage of every other run against the first run's."""
    rows = tuple(
        (
            one.run,
            said.title(comparison, one.topic),
            said.figure_name(one),
            whole(one.steps),
            said.distance(one.bound),
            _left(one),
            said.distance(one.worst),
            whole(one.worst_step) if one.worst else NONE,
            one.because,
        )
        for one in comparison.partings
    )
    head = ("run", "topic", "figure", "steps", "bound", "first past it", "largest", "at step", "")
    return _trimmed(Table(head, rows, frozenset({3, 4, 5, 6, 7})))


def _left(one: Parting) -> str:
    if one.bound is None:
        return NONE
    if one.step is None and one.ended is not None:
        return f"step {whole(one.ended)} is of one alone"
    return "never" if one.step is None else f"step {whole(one.step)}"


def together(comparison: Comparison) -> Table:
    """The same in one line per run and figure, for a terminal."""
    order = {name: at for at, name in enumerate(_names(comparison))}

    def place(one: Parting) -> tuple[int, bool, str]:
        return order[one.run], one.stage != "sft", one.measure

    found = sorted(comparison.partings, key=place)
    rows = tuple(_together(comparison, list(stages)) for _, stages in groupby(found, key=place))
    head = ("run", "figure", "stages", "steps", "bound", "past it", "largest", "where", "")
    return _trimmed(Table(head, rows, frozenset({2, 3, 4, 5, 6})))


def _together(comparison: Comparison, stages: Sequence[Parting]) -> tuple[str, ...]:
    worst = max(stages, key=lambda one: one.worst)
    claimed = [one for one in stages if one.bound is not None]
    past = sum(one.step is not None or one.ended is not None for one in claimed)
    where = f"{said.title(comparison, worst.topic)}, step {whole(worst.worst_step)}"
    whys = dict.fromkeys(one.because for one in stages if one.because)
    return (
        worst.run,
        f"{worst.stage.upper()} {worst.measure}",
        whole(len(stages)),
        whole(sum(one.steps for one in stages)),
        said.distance(claimed[0].bound) if claimed else NONE,
        f"{past} of {len(claimed)}" if claimed else NONE,
        said.distance(worst.worst),
        where if worst.worst else NONE,
        "; ".join(whys),
    )


def agreement(comparison: Comparison) -> Table:
    """Greedy answers against the first run's."""
    rows = tuple(
        (
            one.run,
            said.state(one),
            said.part(one.same, one.answers),
            said.part(one.positions, one.words),
        )
        for one in comparison.agreement
    )
    head = ("run", "state", "answers equal to the last character", "words equal at their place")
    return Table(head, rows)


def distances(comparison: Comparison) -> Table:
    """How far the adapters in force are apart, all of them first."""
    found = sorted(comparison.distances, key=lambda one: one.topic != "")
    rows = tuple(
        (
            one.run,
            said.title(comparison, one.topic) if one.topic else "all",
            said.far(one),
            said.distance(one.bound) + (", past it" if one.past else ""),
            one.stage,
        )
        for one in found
    )
    head = ("run", "adapters of", "distance over the update's norm", "bound", "")
    return _trimmed(Table(head, rows))


def norms(comparison: Comparison) -> Table:
    """How much each run's ledger adds to the weights."""
    rows = tuple(
        (one.name, NONE if one.total_norm is None else figure(one.total_norm))
        for one in comparison.runs
    )
    return Table(("run", "norm of all that is added to the weights"), rows, frozenset({1}))


def cost(comparison: Comparison) -> Table:
    """Speed, memory and time; ratios are to the first run."""
    sides = comparison.runs
    rows: list[tuple[str, ...]] = []
    for kind in ("sft", "dpo"):
        found = [next((one for one in side.stages if one.name == kind), None) for side in sides]
        if any(found):
            rows += _stages(kind.upper(), found)
    rows.append(
        (
            "memory at most",
            *_ratios([side.peak_memory for side in sides], lambda value: size(round(value))),
        )
    )
    for key, name in TIMES.items():
        spent = [side.seconds.get(key, 0.0) for side in sides]  # type: ignore[call-overload]
        rows.append((name, *_ratios(spent, seconds)))
    rows.append(("in all", *_ratios([side.seconds.get("total", 0.0) for side in sides], seconds)))
    right = frozenset(range(1, 1 + len(sides)))
    return Table(("", *_names(comparison)), tuple(rows), right)


def _stages(name: str, found: Sequence[StageFigures | None]) -> list[tuple[str, ...]]:
    speeds = [one.tokens_per_second if one else 0.0 for one in found]
    times = [one.seconds if one else 0.0 for one in found]
    counts = tuple(
        f"{several(one.stages, 'stage')}, {several(one.steps, 'step')}" if one else NONE
        for one in found
    )
    return [
        (f"{name} done", *counts),
        (f"{name} tokens/s", *_ratios(speeds, lambda value: whole(round(value)))),
        (f"{name} time", *_ratios(times, seconds)),
    ]


def _ratios(values: Sequence[float], written: Callable[[float], str]) -> Iterator[str]:
    for at, value in enumerate(values):
        if not value:
            yield NONE
        elif at and (times := said.ratio(value, values[0])):
            yield f"{written(value)} ({times})"
        else:
            yield written(value)


def folders(comparison: Comparison) -> Table:
    rows = tuple((side.name, side.title, side.path) for side in comparison.runs)
    return Table(("run", "title", "folder"), rows)


def curve(comparison: Comparison, one: Curve) -> Table:
    """At most CURVE_ROWS steps, first and last among them."""
    places = range(len(one.steps))
    if len(one.steps) > CURVE_ROWS:
        gap = (len(one.steps) - 1) / (CURVE_ROWS - 1)
        places = [round(at * gap) for at in range(CURVE_ROWS)]  # type: ignore[assignment]
    rows = tuple((whole(one.steps[at]), *(_value(line[at]) for line in one.lines)) for at in places)
    right = frozenset(range(1 + len(one.lines)))
    return Table(("step", *_names(comparison)), rows, right)


def _value(value: float | None) -> str:
    """With seven digits: runs that keep to each other part behind the sixth."""
    return NONE if value is None else f"{value:.7g}"


def _names(comparison: Comparison) -> tuple[str, ...]:
    return tuple(side.name for side in comparison.runs)


def _trimmed(table: Table) -> Table:
    """Without a last column that holds nothing."""
    if any(row[-1] for row in table.rows):
        return table
    return Table(table.head[:-1], tuple(row[:-1] for row in table.rows), table.right)

"""What is told of a variant: its figures with their intervals, and how it differs from LoRA."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from kinds.trial import Outcome
from mindprint.evals.changes import accuracies
from mindprint.evals.stats import Pairs, averaged
from mindprint.evals.style.instrument import Instrument
from mindprint.report.bends import bent
from mindprint.report.kept import Retained
from mindprint.report.model import StageRecord, TopicRecord
from mindprint.report.moments import RETENTION
from mindprint.report.scores import Answer, Difference, Interval, Score

RESAMPLES = 2000
Ends = tuple[float, float] | None


@dataclass(frozen=True)
class Bends:
    """Means over layers, topics and seeds, and the most of any layer: how far the splines moved,
    and the shares of their inputs on the two inner pieces and outside the grid."""

    moved: float
    most: float
    inner: float
    outside: float
    scales: tuple[float, float]


@dataclass(frozen=True)
class Figures:
    """One variant over its seeds. `accuracy` and `voice`: as topics ended, their intervals the
    means of the single scores' intervals; `spread`: least and most mean accuracy of a seed;
    `backward`: what later topics did to earlier ones; `base_kept`: the change on what the base
    knew, over questions and seeds. `over_*`: less LoRA, None of LoRA itself or where it cannot be
    measured. Milliseconds of an SFT step and of a DPO step, medians over stages."""

    parameters: int
    accuracy: Interval
    spread: tuple[float, float]
    voice: Interval | None
    backward: Interval | None
    base_kept: Difference | None
    over_accuracy: Difference | None
    over_voice: Interval | None
    sft_step: float
    dpo_step: float
    bends: Bends | None


def figures(
    runs: Mapping[int, Outcome], plain: Mapping[int, Outcome], scale: Instrument | None
) -> Figures:
    """Of a variant's `runs` by seed, against LoRA's, `plain`, by the same seeds. `scale`: that of
    the open prompts, on which voices are paired."""
    ended = [outcome.result.topics for outcome in runs.values()]
    finals = [[topic.scores["final"] for topic in topics] for topics in ended]
    means = [sum(score.accuracy for score in scores) / len(scores) for scores in finals]
    every = [score for scores in finals for score in scores]
    itself = all(runs[seed] is plain[seed] for seed in runs)
    return Figures(
        parameters=next(iter(runs.values())).parameters,
        accuracy=_mean([_interval(one.accuracy, one.accuracy_interval) for one in every]),
        spread=(min(means), max(means)),
        voice=_voice(every),
        backward=_backward(list(runs.values())),
        base_kept=_base_kept(list(runs.values())),
        over_accuracy=None if itself else over_accuracy(runs, plain),
        over_voice=None if itself or scale is None else _over_voice(runs, plain, scale),
        sft_step=_step(ended, "sft"),
        dpo_step=_step(ended, "dpo"),
        bends=_bends(list(runs.values())),
    )


def over_accuracy(runs: Mapping[int, Outcome], plain: Mapping[int, Outcome]) -> Difference:
    """The variant's accuracy less LoRA's, as topics ended: paired by question and seed, questions
    resampled within each topic with all their seeds together."""
    seeds = sorted(runs)
    topics = [topic.id for topic in runs[seeds[0]].result.topics]
    return averaged([_paired(runs, plain, seeds, name) for name in topics], resamples=RESAMPLES)


def _paired(
    runs: Mapping[int, Outcome], plain: Mapping[int, Outcome], seeds: Sequence[int], name: str
) -> Pairs:
    before: list[Answer] = []
    after: list[Answer] = []
    clusters: list[int] = []
    for seed in seeds:
        here, there = _topic(plain[seed], name), _topic(runs[seed], name)
        before += [one.answers["final"] for one in here.questions]
        after += [one.answers["final"] for one in there.questions]
        clusters += [one.cluster for one in here.questions]
    return accuracies(before, after, clusters)


def _topic(outcome: Outcome, name: str) -> TopicRecord:
    return next(topic for topic in outcome.result.topics if topic.id == name)


def _voice(scores: Sequence[Score]) -> Interval | None:
    """None where the voice was not calibrated: by markers it is another figure."""
    if any(score.voice_by != "calibrated" for score in scores):
        return None
    return _mean([_interval(score.voice, score.voice_interval) for score in scores])


def _over_voice(
    runs: Mapping[int, Outcome], plain: Mapping[int, Outcome], scale: Instrument
) -> Interval | None:
    """The change of the last voice, paired by open prompt; mean over seeds of the changes and of
    the ends of their intervals, which are no narrower than the mean's own."""
    found = []
    for seed, outcome in runs.items():
        here, there = (_said(one) for one in (plain[seed], outcome))
        change = scale.change(here, there)
        if change is None:
            return None
        found.append(Interval(value=change.value, low=change.low, high=change.high))
    return _mean(found)


def _said(outcome: Outcome) -> list[str]:
    voice = outcome.result.voice
    return [] if voice is None else [one.final for one in voice.answers]


def _backward(outcomes: Sequence[Outcome]) -> Interval | None:
    found = []
    for outcome in outcomes:
        moved = outcome.result.transfer.get("accuracy")
        if moved is None or moved.backward is None:
            return None
        found.append(_interval(moved.backward, moved.backward_interval))
    return _mean(found)


def _base_kept(outcomes: Sequence[Outcome]) -> Difference | None:
    """Final less base on the retention set, its questions resampled with all their seeds."""
    before: list[float] = []
    after: list[float] = []
    clusters: list[int] = []
    for outcome in outcomes:
        rows = outcome.result.forgetting
        base, last = _row(rows, "base"), _row(rows, "final")
        if base is None or last is None:
            return None
        before += [values[1] for values in base.values[RETENTION]]
        after += [values[1] for values in last.values[RETENTION]]
        clusters += [values[0] for values in base.values[RETENTION]]
    return averaged([Pairs(before, after, clusters)], resamples=RESAMPLES)


def _row(rows: Sequence[Retained], stage: str) -> Retained | None:
    """The last of its stage that asked the retention set."""
    found = [row for row in rows if row.stage == stage and RETENTION in row.values]
    return found[-1] if found else None


def _step(ended: Sequence[Sequence[TopicRecord]], kind: str) -> float:
    """Milliseconds, the median over stages; 0 where there was none."""
    stages = [stage for topics in ended for topic in topics for stage in topic.stages]
    each = _of(stages, lambda stage: stage.name == kind and stage.steps > 0)
    return 1000 * median([one.seconds / one.steps for one in each]) if each else 0.0


def _of(stages: Sequence[StageRecord], wanted: Callable[[StageRecord], bool]) -> list[StageRecord]:
    return [stage for stage in stages if wanted(stage)]


def _bends(outcomes: Sequence[Outcome]) -> Bends | None:
    layers = [
        layer
        for outcome in outcomes
        for _, _, made in bent(outcome.result)
        for layer in made.layers
    ]
    if not layers:
        return None
    count = len(layers)
    return Bends(
        moved=sum(one.moved for one in layers) / count,
        most=max(one.moved for one in layers),
        inner=sum(one.inner for one in layers) / count,
        outside=sum(one.outside for one in layers) / count,
        scales=(
            sum(one.scales[0] for one in layers) / count,
            sum(one.scales[1] for one in layers) / count,
        ),
    )


def _interval(value: float, ends: Ends) -> Interval:
    low, high = ends if ends is not None else (value, value)
    return Interval(value=value, low=low, high=high)


def _mean(found: Sequence[Interval]) -> Interval:
    count = len(found)
    return Interval(
        value=sum(one.value for one in found) / count,
        low=sum(one.low for one in found) / count,
        high=sum(one.high for one in found) / count,
    )

"""Comparisons made by hand: two backends that keep to each other, three that do not, two runs that
have little in common."""

from __future__ import annotations

import math

from mindprint.compare.model import (
    Agreement,
    Comparison,
    Curve,
    Distance,
    FirstParting,
    Overall,
    Parting,
    Setting,
    Side,
    StageFigures,
    TopicScores,
)
from mindprint.report.scores import Difference, Interval

SCALES, SORTING = "unit-01/chapter-01/topic-01-scales", "unit-01/chapter-01/topic-02-sorting"
STEPS = tuple(range(1, 121))
PAIRS = tuple(range(1, 86))


def side(name: str, speed: float = 4000.0, **changes: object) -> Side:
    backend, engine = ("torch", "trl") if name == "trl" else (name, "native")
    known = {
        "name": name,
        "path": f"runs/compare/{name}",
        "title": "Letters from Upper Wrenfold",
        "status": "finished",
        "backend": backend,
        "engine": engine,
        "device": "cpu",
        "dtype": "float32",
        "model": "demo-model",
        "model_id": "5d1c1b7a90d3",
        "passed": 1,
        "topics": 2,
        "accuracy": 0.88,
        "voice": 0.79,
        "stages": (
            StageFigures(
                name="sft",
                stages=2,
                steps=240,
                seconds=90_000 / speed,
                tokens=90_000,
                tokens_per_second=speed,
            ),
            StageFigures(
                name="dpo",
                stages=1,
                steps=85,
                seconds=30_000 / speed,
                tokens=30_000,
                tokens_per_second=speed,
            ),
        ),
        "peak_memory": 1_200_000_000,
        "seconds": {"opening": 2.4, "training": 120_000 / speed, "evaluation": 41.0, "total": 75.0},
        "total_norm": 3.21,
    }
    return Side.model_validate({**known, **changes})


def falling(steps: tuple[int, ...], start: float) -> tuple[float, ...]:
    return tuple(start * math.exp(-step / 30) + 0.05 + 0.02 * math.sin(step) for step in steps)


def shaken(line: tuple[float, ...], by: float, grows: float = 1.0) -> tuple[float, ...]:
    """A run that keeps to another but for `by`, relative, growing along the way."""
    return tuple(
        value * (1 + by * grows ** (at / len(line)) * abs(math.sin(7 * at + 1)))
        for at, value in enumerate(line)
    )


def curve(topic: str, stage: str, measure: str, *by: float, grows: float = 10.0) -> Curve:
    steps = STEPS if stage == "sft" else PAIRS
    line = falling(steps, 6.0 if measure == "loss" else -25.0)
    if measure == "margin":
        line = tuple(value + 24.95 for value in line)
    lines = (line, *(shaken(line, one, grows) for one in by))
    return Curve.model_validate(
        {
            "topic": topic,
            "stage": stage,
            "attempt": 0,
            "measure": measure,
            "steps": steps,
            "lines": lines,
        }
    )


def parting(
    run: str, topic: str, stage: str, measure: str, worst: float, **more: object
) -> Parting:
    steps = len(STEPS if stage == "sft" else PAIRS)
    bound = 1e-5 if stage == "sft" else 1e-4
    known = {
        "run": run,
        "topic": topic,
        "stage": stage,
        "attempt": 0,
        "measure": measure,
        "steps": steps,
        "bound": bound,
        "step": None,
        "worst": worst,
        "worst_step": steps - 2,
    }
    return Parting.model_validate({**known, **more})


FIGURES = (
    (SCALES, "sft", "loss"),
    (SCALES, "dpo", "loss"),
    (SCALES, "dpo", "margin"),
    (SORTING, "sft", "loss"),
)


def change(value: float, reach: float = 0.06) -> Difference:
    return Difference(
        value=value, low=value - reach, high=value + reach, p=0.4, clusters=16, unseen=0.2
    )


def scores(topic: str, title: str, *accuracies: float | None, voice: float = 0.79) -> TopicScores:
    others = accuracies[1:]
    first = accuracies[0] or 0.0
    return TopicScores(
        id=topic,
        title=title,
        accuracy=accuracies,
        voice=tuple(None if one is None else voice for one in accuracies),
        status=tuple(
            "pending" if one is None else "passed" if one > 0.7 else "failed" for one in accuracies
        ),
        accuracy_changes=tuple(None if one is None else change(one - first) for one in others),
        markers_changes=tuple(None if one is None else change(0.0) for one in others),
        voice_changes=tuple(None if one is None else change(0.0) for one in others),
        voice_intervals=tuple(
            None if one is None else (voice - 0.07, voice + 0.06) for one in accuracies
        ),
    )


def alike() -> Comparison:
    """MLX and PyTorch on the same curriculum: nothing parts."""
    worst = {"sft": 7.8e-7, "dpo": 4.1e-6}
    return Comparison(
        mindprint="0.1.0",
        title="Letters from Upper Wrenfold",
        author="Euphemia Tock",
        verdict="The runs differ in their backend alone. All 325 steps of torch keep to those of "
        "mlx within their bounds, at most 4.1e-6 apart. Accuracy and voice are alike.",
        runs=(side("mlx"), side("torch", 5200.0, peak_memory=1_650_000_000)),
        differences=(
            Setting(kind="machine", key="backend", values=("mlx", "torch")),
            Setting(kind="library", key="mlx", values=("0.32.0", "")),
            Setting(kind="library", key="torch", values=("", "2.12.1")),
        ),
        same=("46 settings", "model 5d1c1b7a90d3", "28 files of the curriculum", "float32", "cpu"),
        curves=tuple(curve(*key, worst[key[1]] / 10) for key in FIGURES),
        partings=tuple(parting("torch", *key, worst[key[1]]) for key in FIGURES),
        first=(),
        topics=(
            scores(SCALES, "Scales & weights", 0.92, 0.92),
            scores(SORTING, "Sorting", 0.62, 0.69),
        ),
        overall=(
            Overall(
                run="torch",
                accuracy=change(0.03),
                markers=change(0.0),
                voice=(
                    Interval(value=0.80, low=0.74, high=0.87),
                    Interval(value=0.81, low=0.75, high=0.88),
                ),
                phrasings=26,
                prompts=44,
                voice_change=change(0.01),
            ),
        ),
        agreement=(
            Agreement(
                run="torch",
                state="base",
                answers=26,
                same=26,
                words=312,
                positions=312,
                example=None,
            ),
            Agreement(
                run="torch",
                state="final",
                answers=26,
                same=25,
                words=298,
                positions=297,
                example=(
                    "What is the brass scale for?",
                    "For letters, and for nothing else.",
                    "For letters, and for little else.",
                ),
            ),
        ),
        distances=(
            Distance(run="torch", topic="", relative=4.7e-5),
            Distance(run="torch", topic=SCALES, relative=4.4e-5),
            Distance(run="torch", topic=SORTING, relative=4.9e-5),
        ),
        paired=True,
    )


def three() -> Comparison:
    """With TRL as the third, which leaves at the second step; a stage that only two runs have."""
    two = alike()
    trl = tuple(parting("trl", *key, 0.3, step=2, worst_step=40) for key in FIGURES)
    curves = list(
        curve(key[0], key[1], key[2], {"sft": 7.8e-8, "dpo": 4.1e-7}[key[1]], 0.02)
        for key in FIGURES
    )
    missing = (*curves[1].lines[:2], (None,) * len(PAIRS))
    curves[1] = curves[1].model_copy(update={"lines": missing})
    return two.model_copy(
        update={
            "verdict": "The runs differ in backend and engine. torch keeps to mlx at every step; "
            "trl leaves it at step 2 of the first stage.",
            "runs": (*two.runs, side("trl", 2900.0, accuracy=0.71, voice=None, total_norm=None)),
            "differences": tuple(
                one.model_copy(update={"values": (*one.values, one.values[-1])})
                for one in two.differences
            ),
            "curves": tuple(curves),
            "partings": (*two.partings, *trl),
            "first": (
                FirstParting(
                    run="trl",
                    topic=SCALES,
                    stage="sft",
                    step=2,
                    measure="loss",
                    apart=0.021,
                    bound=1e-5,
                    where="step 2 of SFT of Scales & weights",
                    guess="the first update differed: optimizer (bias correction, rate, clipping) "
                    "or the adapter's scale",
                ),
            ),
            "topics": (
                scores(SCALES, "Scales & weights", 0.92, 0.92, 0.71),
                scores(SORTING, "Sorting", 0.62, 0.69, None),
            ),
            "overall": (
                *two.overall,
                Overall(run="trl", accuracy=change(-0.21), markers=None, voice=(None, None)),
            ),
            "agreement": (
                *two.agreement,
                Agreement(
                    run="trl",
                    state="final",
                    answers=26,
                    same=3,
                    words=310,
                    positions=101,
                    example=("Who sorts?", "", "Nobody sorts on a Sunday."),
                ),
            ),
            "distances": (
                *two.distances,
                Distance(run="trl", topic="", relative=None, because="other topics are in force"),
            ),
        }
    )


def apart() -> Comparison:
    """Two models over other questions: nothing is bound and nothing is paired."""
    two = alike()
    because = "the model is another"
    return two.model_copy(
        update={
            "verdict": "The runs differ in their model and their topics: their steps are not "
            "comparable, and their questions are not the same.",
            "runs": (
                side("small"),
                side(
                    "large",
                    900.0,
                    model="larger",
                    dtype="bfloat16",
                    status="stopped",
                    accuracy=None,
                    voice=None,
                    total_norm=None,
                    stages=(),
                    peak_memory=0,
                ),
            ),
            "differences": (
                Setting(kind="model", key="model", values=("demo-model", "larger")),
                Setting(kind="config", key="sft.learning_rate", values=("0.0002", "0.001")),
            ),
            "same": (),
            "curves": (curve(SCALES, "sft", "loss", 0.4),),
            "partings": (
                parting("large", SCALES, "sft", "loss", 0.9, bound=None, because=because),
            ),
            "topics": (scores(SCALES, "Scales & weights", 0.92, None),),
            "overall": (Overall(run="large", accuracy=None, markers=None, voice=(None, None)),),
            "agreement": (),
            "distances": (Distance(run="large", topic="", relative=None, because=because),),
            "paired": False,
            "notes": ("large was stopped in its first topic",),
        }
    )

"""Losses and margins of every stage, one line per run, aligned by step."""

from __future__ import annotations

from collections.abc import Sequence

from mindprint.compare.model import Curve, Measure
from mindprint.compare.run import Place, Run
from mindprint.report.model import StageRecord

MEASURES: tuple[Measure, ...] = ("loss", "margin")


def curves(runs: Sequence[Run]) -> tuple[Curve, ...]:
    """In the order of the first run; what only others have comes after."""
    found = []
    for place in places(runs):
        for measure in MEASURES:
            points = [figures(run.stages.get(place), measure) for run in runs]
            steps = sorted({step for one in points for step in one})
            if not steps:
                continue
            curve = Curve(
                topic=place.topic,
                stage=place.stage,
                attempt=place.attempt,
                measure=measure,
                steps=tuple(steps),
                lines=tuple(tuple(one.get(step) for step in steps) for one in points),
            )
            found.append(curve)
    return tuple(found)


def places(runs: Sequence[Run]) -> list[Place]:
    """Every stage that any run trained."""
    return list(dict.fromkeys(place for run in runs for place in run.stages))


def figures(record: StageRecord | None, measure: Measure) -> dict[int, float]:
    """Step, from 1, to figure; margins are DPO's alone."""
    if record is None:
        return {}
    return dict(record.curve if measure == "loss" else record.margins)

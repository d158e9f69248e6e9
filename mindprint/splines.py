"""LS-LoRA's splines as a stage left them: measured on its own rows, told, kept for the report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from backends import lora, spline
from backends.contract import AdapterSpec, Params, Session, Spline, SplineInputs
from mindprint.events import Event, Listener
from mindprint.fitting import Fit
from mindprint.job import Job
from mindprint.report.bends import findings
from mindprint.report.spline import LayerSpline, SplinesRecord

ROWS = 32
"""Rows (of DPO: pairs) that the shares are measured on, spread evenly over the stage's data."""
PLACES = 6
"""Decimal places of a figure, more than anyone reads: a record repeats to the last digit."""


def looked_at(
    session: Session, spec: AdapterSpec, job: Job, fit: Fit, listen: Listener
) -> SplinesRecord | None:
    """The splines of the adapter in training, an event with each layer's figures, and a notice for
    whatever is amiss; None, and nothing told, where the adapter has no spline. Raises DeviceFull.
    """
    if spec.spline is None:
        return None
    order = _spread(len(job.batches.lengths))
    given = inputs_of(session, job, order, fit)
    record = record_of(spec.spline, session.adapters.parameters(), given, len(order))
    listen(Event("splines", job.topic, job.stage, record.model_dump(mode="json")))
    for sentence in findings(record):
        listen(Event("notice", job.topic, job.stage, {"text": sentence}))
    return record


def inputs_of(
    session: Session, job: Job, order: Sequence[int], fit: Fit
) -> dict[str, SplineInputs]:
    """What the rows `order` of a job give every spline. Raises DeviceFull."""
    found: dict[str, SplineInputs] = {}

    def feed(places: Sequence[int]) -> None:
        for path, one in session.spline_inputs(job.batch_of(places)).items():
            found[path] = found[path] + one if path in found else one

    # The stage is trained and not yet written: a wish to stop is met right after.
    whole = replace(fit, halt=lambda: None, on_full="shrink")
    whole.each(order, job.batches.batch_size, feed)
    return found


def record_of(
    spec: Spline, params: Params, given: dict[str, SplineInputs], rows: int
) -> SplinesRecord:
    """`params`: the adapter's tensors by contract name; `given`: what each layer's spline was
    given by `rows` rows."""
    return SplinesRecord(
        low=spec.low,
        high=spec.high,
        interpolation=spec.interpolation,
        outside=spec.outside,
        rows=rows,
        layers=tuple(_layer(spec, params, path, given[path]) for path in lora.paths_of(params)),
    )


def _layer(spec: Spline, params: Params, path: str, given: SplineInputs) -> LayerSpline:
    values = np.asarray(params[lora.name_v(path)], dtype=np.float64)
    before, after = params[lora.name_s(path)].tolist()
    zero = spline.zero(spec)
    return LayerSpline(
        layer=path,
        values=tuple(_rounded(value) for value in values.tolist()),
        scales=(_rounded(before), _rounded(after)),
        moved=_rounded(np.abs(values - spline.knots(spec)).mean()),
        slope_variance=_rounded(spline.slopes(values, spec).var()),
        inner=given.on_pieces(zero - 1, zero),  # all of them is told by its being exactly 1
        outside=_rounded(given.outside),
    )


def _spread(rows: int) -> list[int]:
    """At most ROWS of so many rows, first and last among them."""
    return sorted({round(place) for place in np.linspace(0, rows - 1, min(ROWS, rows)).tolist()})


def _rounded(value: float) -> float:
    return round(float(value), PLACES)

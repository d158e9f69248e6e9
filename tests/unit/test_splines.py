"""LS-LoRA's splines at a stage's end: their figures, what is said of them, and on which rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from backends import lora
from backends.contract import AdapterSpec, Batch, Objective, Params, Spline, SplineInputs
from backends.errors import OutOfMemory
from mindprint.errors import Interrupted
from mindprint.events import Event
from mindprint.fitting import DeviceFull, Fit
from mindprint.job import Job
from mindprint.report.bends import findings
from mindprint.report.spline import SplinesRecord
from mindprint.splines import ROWS, looked_at, record_of
from mindprint.tokens.batches import BatchPlan, pad
from mindprint.tokens.render import Row

LAYERS = ("layers.0.q_proj", "layers.1.q_proj")
FORM = Spline(knots=5, low=-2.0, high=2.0)
SPEC = AdapterSpec(rank=2, kind="lslora", spline=FORM)
WELL = SplineInputs.counted(100, [95, 80, 50, 20, 5], 1.0, 1.0)


def params(
    values: Sequence[float] = (-2, -1, 0, 1, 2), scales: tuple[float, float] = (1, 1)
) -> Params:
    """Two layers, the second with a spline that is the identity."""
    found: Params = {}
    for path, own in zip(LAYERS, (values, (-2, -1, 0, 1, 2)), strict=True):
        found[lora.name_a(path)] = np.zeros((2, 3), dtype=np.float32)
        found[lora.name_v(path)] = np.array(own, dtype=np.float32)
        found[lora.name_s(path)] = np.array(scales if path == LAYERS[0] else (1, 1), np.float32)
    return found


def record(given: SplineInputs = WELL, **changes: Any) -> SplinesRecord:
    return record_of(FORM, params(**changes), {LAYERS[0]: given, LAYERS[1]: WELL}, 8)


def test_figures_are_those_of_a_sum_done_by_hand() -> None:
    """Values off by 0.5, 0, 0, 0, 1 from the identity: a mean of 0.3; slopes 0.5, 1, 1, 2 with a
    mean of 1.125, so a variance of (0.390625 + 2 * 0.015625 + 0.765625) / 4."""
    made = record(values=(-1.5, -1, 0, 1, 3), scales=(1.5, 0.5))
    first, second = made.layers
    assert first.moved == pytest.approx(0.3)
    assert first.slope_variance == pytest.approx(1.1875 / 4)
    assert first.scales == (1.5, 0.5) and first.values == (-1.5, -1.0, 0.0, 1.0, 3.0)
    assert (first.inner, first.outside) == (0.6, 0.1)
    assert (second.moved, second.slope_variance) == (0.0, 0.0)
    assert [one.layer for one in made.layers] == list(LAYERS)
    assert SplinesRecord.model_validate(made.model_dump(mode="json")) == made


def test_a_sound_spline_is_not_spoken_of() -> None:
    assert findings(record(values=(-1.9, -1.2, 0, 1, 2.2), scales=(1.2, 0.8))) == ()


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (record(values=(-7, -1, 0, 1, 3)), "more than 1 from the identity"),
        (record(SplineInputs.counted(9, [9, 9, 5, 0, 0], 1, 1)), "two pieces beside 0"),
        (record(SplineInputs.counted(9, [4, 4, 4, 4, 4], 1, 1)), "lie outside the grid"),
        (record(scales=(1.0, 0.1)), "is below 0.25"),
    ],
    ids=["far", "idle", "beyond", "muted"],
)
def test_what_is_amiss_is_said_with_its_layer_and_its_remedy(
    made: SplinesRecord, said: str
) -> None:
    """Each fault put into one of two layers, which alone is named."""
    (found,) = findings(made)
    assert said in found and "1 of 2 layers" in found and "`adapter." in found
    assert LAYERS[1] not in found


def test_an_output_scale_of_a_tenth_and_a_free_spline_show_themselves() -> None:
    """Two of the settings that made an earlier trainer's spline do nothing, or too much."""
    found = findings(record(values=(-9, -1, 0, 1, 9), scales=(1.0, 0.1)))
    assert [("identity_penalty" in one, "0.1 after it" in one) for one in found] == [
        (True, False),
        (False, True),
    ]


def test_a_grid_of_three_knots_has_no_outer_pieces() -> None:
    form = Spline(knots=3, low=-1.0, high=1.0)
    held = {name: array for name, array in params().items() if name.startswith(LAYERS[0])}
    held[lora.name_v(LAYERS[0])] = np.array([-1, 0, 1], dtype=np.float32)
    inside = SplineInputs.counted(4, [4, 2, 0], 1.0, 1.0)
    assert findings(record_of(form, held, {LAYERS[0]: inside}, 1)) == ()


@dataclass
class FakeAdapters:
    def parameters(self) -> Params:
        return params()


@dataclass
class FakeSession:
    """Counts the rows it is given; has room for `room` of them at a time."""

    room: int = 99
    fed: list[int] = field(default_factory=list)
    adapters: FakeAdapters = field(default_factory=FakeAdapters)

    def spline_inputs(self, batch: Batch) -> dict[str, SplineInputs]:
        if len(batch.ids) > self.room:
            raise OutOfMemory("no room", where="here")
        self.fed += batch.ids[:, 0].tolist()
        return dict.fromkeys(LAYERS, WELL)


def job(rows: int) -> Job:
    def batch_of(places: Sequence[int]) -> Batch:
        return pad([Row((place, 1), (False, True), cut=False) for place in places])

    plan = BatchPlan((2,) * rows, epochs=1, batch_size=4, accumulate=1, seed=(0,))
    return Job("topic", "sft", 0, Objective("sft"), plan, batch_of, 1e-3, "constant", 0.0, 1.0)


def test_rows_are_spread_over_the_stage_and_its_event_holds_every_layer() -> None:
    session, heard = FakeSession(), list[Event]()
    made = looked_at(session, SPEC, job(100), Fit(), heard.append)  # type: ignore[arg-type]
    assert made is not None and made.rows == len(session.fed) == ROWS
    assert (session.fed[0], session.fed[-1]) == (0, 99) and len(set(session.fed)) == ROWS
    (event,) = heard
    assert (event.kind, event.topic, event.stage) == ("splines", "topic", "sft")
    assert [layer["layer"] for layer in event.data["layers"]] == list(LAYERS)
    few = FakeSession()
    looked_at(few, SPEC, job(3), Fit(), heard.append)  # type: ignore[arg-type]
    assert few.fed == [0, 1, 2]


def test_other_kinds_are_not_looked_at() -> None:
    assert looked_at(None, AdapterSpec(), job(3), Fit(), lambda _: None) is None  # type: ignore[arg-type]


def test_a_trained_stage_is_not_lost_to_its_diagnostics() -> None:
    """Neither to a wish to stop, which is met after the stage is written, nor to a full device
    that smaller batches fit on."""

    def halt() -> None:
        raise Interrupted("stop")

    session, heard = FakeSession(room=1), list[Event]()
    fit = Fit(halt=halt, on_full="stop", tell=lambda _: None)
    made = looked_at(session, SPEC, job(6), fit, heard.append)  # type: ignore[arg-type]
    assert made is not None and session.fed == [0, 1, 2, 3, 4, 5]
    with pytest.raises(DeviceFull):
        looked_at(FakeSession(room=0), SPEC, job(6), fit, heard.append)  # type: ignore[arg-type]

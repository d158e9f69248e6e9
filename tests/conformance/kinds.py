"""What tests of every kind of adapter begin with: their specs, and adapters of drawn values."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backends import lora
from backends.contract import (
    AdapterSpec,
    Batch,
    Objective,
    OptimizerSpec,
    Params,
    Session,
    Spline,
)
from tests.conformance.dense import Dense
from tests.conformance.trained import real

LORA = AdapterSpec(rank=4, alpha=8.0, seed=7)
DORA = replace(LORA, kind="dora")
LSLORA = replace(LORA, kind="lslora", spline=Spline())
SOFT = Spline(knots=7, low=-2.0, high=1.0, interpolation="soft", outside="clamp")
"""All that can be other than the default is."""

ROUNDING = 5e-6
"""Of the largest logit: float32 in another order, over two layers (an eps is 6e-8, a sum here has
up to 80 products, and 14 layers follow each other)."""

NEW = {"dora": DORA, "lslora": LSLORA, "soft": replace(LORA, kind="lslora", spline=SOFT)}
ALL = {"lora": LORA, **NEW}


def drawn(fresh: Params, seed: int, size: float = 0.1) -> Params:
    """As if an adapter had learned much: `fresh` values with B of about `size`, magnitudes up to a
    fifth from where they were, bent splines and scales that are no 1."""
    rng = np.random.default_rng(seed)
    found: Params = {}
    for name, values in sorted(fresh.items()):
        draws = rng.standard_normal(values.shape)
        moved: NDArray[Any]
        if name.endswith(".lora_B"):
            moved = size * draws
        elif name.endswith(".lora_magnitude_vector"):
            moved = values * (1.0 + 0.2 * np.tanh(draws))
        elif name.endswith(".lora_spline_values"):
            moved = values + 0.2 * (values[1] - values[0]) * draws
        elif name.endswith(".lora_spline_scales"):
            moved = values + np.array([0.3, -0.2]) + 0.1 * np.tanh(draws)
        else:
            moved = values
        found[name] = moved.astype(np.float32)
    return found


def put(session: Session, name: str, spec: AdapterSpec, *, seed: int, size: float = 0.1) -> Params:
    """Attach a trainable adapter of drawn values, and return them."""
    session.adapters.add(spec, name)
    params = drawn(session.adapters.parameters(), seed, size)
    assign(session, params)
    return params


def assign(session: Session, params: Params) -> None:
    session.learner(Objective("sft"), OptimizerSpec()).assign(params)


def same(found: Params, wanted: Params) -> bool:
    """The same names, in float32, and the same bits."""
    return found.keys() == wanted.keys() and all(
        found[name].dtype == np.float32 and np.array_equal(found[name], wanted[name])
        for name in wanted
    )


def apart(found: NDArray[Any], wanted: NDArray[Any]) -> float:
    """The largest difference, over the largest value: logits are anything up to 20 here."""
    found, wanted = found.astype(np.float64), wanted.astype(np.float64)
    return float(np.abs(found - wanted).max() / np.abs(wanted).max())


def norm_of(tensors: dict[str, NDArray[Any]], ending: str = "") -> float:
    """Of all tensors whose names end so, together."""
    held = [array.astype(np.float64) for name, array in tensors.items() if name.endswith(ending)]
    return float(sum(np.square(array).sum() for array in held) ** 0.5)


def endings(spec: AdapterSpec) -> list[str]:
    """Of the names of a layer's tensors, such as `.lora_A`."""
    return list(lora.shapes(spec, "", 0, 0))


FORMS = [
    Spline(7, -2.0, 4.0, interpolation, outside)
    for interpolation in ("piecewise", "soft")
    for outside in ("linear", "clamp")
]
"""On a grid that is not the default's; `narrowed` makes one that nearly everything is outside."""


def check_begins_as_lora(session: Session, form: Spline, batch: Batch) -> None:
    """A fresh spline over LoRA's own factors is LoRA, inside the grid and far outside."""
    for grid in (form, narrowed(form, 1e-3)):
        plain = put(session, f"plain {grid.high}", LORA, seed=11)
        logits = session.logits(batch)
        session.adapters.unload(f"plain {grid.high}")
        session.adapters.add(replace(LSLORA, spline=grid), f"bent {grid.high}")
        fresh = session.adapters.parameters()
        assert all(np.array_equal(fresh[name], plain[name]) for name in plain if "_A" in name)
        assign(session, {**fresh, **plain})
        found = session.logits(batch)
        session.adapters.unload(f"bent {grid.high}")
        assert apart(found, logits) < ROUNDING


def narrowed(form: Spline, times: float) -> Spline:
    return replace(form, low=times * form.low, high=times * form.high)


def check_follows_its_form(session: Session, dense: Dense, form: Spline, batch: Batch) -> None:
    """A bent spline gives the oracle's logits, on grids of two sizes."""
    for grid in (form, narrowed(form, 0.1)):
        spec = replace(LSLORA, spline=grid)
        params = put(session, f"bent {grid.high}", spec, seed=12)
        found = real(batch, session.logits(batch))
        session.adapters.unload(f"bent {grid.high}")
        assert apart(found, real(batch, dense.logits(batch, [(spec, params)]))) < ROUNDING

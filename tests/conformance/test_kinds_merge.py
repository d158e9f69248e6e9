"""Folding DoRA and LS-LoRA into the base weights: exactly where they are linear, else refused."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from backends import lora, spline
from backends.contract import AdapterSpec, Params, Session, Spline
from backends.errors import MergeRefused
from tests.conformance.conftest import ModelFolder, OpenSession
from tests.conformance.kinds import ALL, DORA, LORA, LSLORA, apart, assign, put
from tests.tiny import random_batch

BATCH = random_batch(np.random.default_rng(61))
MERGED = 5e-6
"""Of the largest logit: float32 sums in another order; the weights themselves are float32."""


@pytest.fixture
def session(open_session: OpenSession, model_of: ModelFolder, backend: str) -> Session:
    """Its own: what is merged stays merged. With biases, which no merge may touch."""
    return open_session(backend, model_of("qwen2"))


def straight(spec: AdapterSpec, params: Params, slope: float) -> Params:
    """With splines of one slope everywhere."""
    assert spec.spline is not None
    line = (slope * spline.knots(spec.spline)).astype(np.float32)
    return {n: line if n.endswith("spline_values") else v for n, v in params.items()}


def test_a_chain_of_linear_kinds_is_merged_exactly(session: Session) -> None:
    """A straight spline between DoRAs too: none of the later ones scales it."""
    for place, kind in enumerate(("lora", "dora", "lslora", "dora")):
        params = put(session, f"{place}", ALL[kind], seed=62 + place)
        if kind == "lslora":
            assign(session, straight(LSLORA, params, 1.5))
        session.adapters.freeze(f"{place}")
    put(session, "last", LORA, seed=67)
    exact, prints = session.logits(BATCH), session.adapters.base_fingerprint()
    report = session.adapters.merge_and_unload()
    assert session.adapters.active() == () and session.adapters.trainable() == {}
    assert apart(session.logits(BATCH), exact) < MERGED
    assert report.lost < 1e-4 and report.weight_error < 1e-4
    after = session.adapters.base_fingerprint()
    assert after.keys() == prints.keys()
    changed = {name for name in after if after[name] != prints[name]}
    assert len(changed) == report.layers == 14
    assert not any("bias" in name or "norm" in name or "embed" in name for name in changed)


@pytest.mark.parametrize("kind", ["dora", "lslora"])
def test_an_adapter_goes_over_what_was_merged(session: Session, kind: str) -> None:
    """DoRA's norms are those of the merged weight, and a second merge holds both."""
    put(session, "first", DORA, seed=68, size=0.3)
    session.adapters.merge_and_unload()
    merged = session.logits(BATCH)
    session.adapters.add(ALL[kind], "second")
    assert apart(session.logits(BATCH), merged) < MERGED
    session.adapters.unload("second")
    params = put(session, "second", ALL[kind], seed=69)
    if kind == "lslora":
        assign(session, straight(ALL[kind], params, 0.5))
    exact = session.logits(BATCH)
    assert apart(exact, merged) > 1e-3
    session.adapters.merge_and_unload()
    assert apart(session.logits(BATCH), exact) < MERGED


CURVED: dict[str, tuple[Spline, float, float]] = {
    "bent": (Spline(), 1.0, 0.01),
    "clamped": (Spline(outside="clamp"), 1.2, 0.0),
    "soft": (Spline(interpolation="soft"), 1.2, 0.0),
}
"""A spline, the slope of its values, and how far one knot of one layer lies off that line."""


@pytest.mark.parametrize("kind", CURVED)
def test_a_spline_that_bends_is_refused_and_nothing_changed(session: Session, kind: str) -> None:
    """In a single layer of the model too, and where it is frozen under a mergeable one."""
    form, slope, off = CURVED[kind]
    spec = replace(LSLORA, spline=form)
    params = straight(spec, put(session, "bent", spec, seed=70), slope)
    odd = "model.layers.1.mlp.down_proj"
    values = params[lora.name_v(odd)].copy()
    values[-1] += off
    assign(session, {**params, lora.name_v(odd): values})
    base_and_adapter = session.logits(BATCH)
    prints = session.adapters.base_fingerprint()
    _refused(session, odd if kind == "bent" else "")
    assert session.adapters.active() == ("bent",)
    session.adapters.freeze("bent")
    put(session, "over", LORA, seed=71)
    _refused(session, odd if kind == "bent" else "")
    assert session.adapters.active() == ("bent", "over")
    assert session.adapters.base_fingerprint() == prints
    session.adapters.unload("over")
    assert apart(session.logits(BATCH), base_and_adapter) < MERGED


def test_a_merge_that_loses_too_much_leaves_what_acts_as_it_was(session: Session) -> None:
    """Refused once the weights were rewritten: norms must be those of the weights put back."""
    put(session, "first", DORA, seed=72, size=0.3)
    session.adapters.freeze("first")
    put(session, "second", DORA, seed=73, size=0.3)
    before = session.logits(BATCH)
    with pytest.raises(MergeRefused):
        session.adapters.merge_and_unload(bound=0.0)
    assert (session.logits(BATCH) == before).all()


def _refused(session: Session, layer: str) -> Any:
    with pytest.raises(MergeRefused) as caught:
        session.adapters.merge_and_unload()
    assert "handoff: stack" in caught.value.hint
    assert "spline" in caught.value.what
    assert layer in str(caught.value)


def test_an_untrained_spline_is_linear_whatever_its_kind(session: Session) -> None:
    """As the identity each form is: the factors and scales alone were trained."""
    for interpolation in ("piecewise", "soft"):
        for outside in ("linear", "clamp"):
            form = Spline(7, -1.0, 2.0, interpolation, outside)
            spec = replace(LSLORA, spline=form, targets=("down_proj",))
            name = f"{interpolation} {outside}"
            params = put(session, name, spec, seed=72)
            assign(session, straight(spec, params, 1.0))
            exact = session.logits(BATCH)
            session.adapters.merge_and_unload()
            assert apart(session.logits(BATCH), exact) < MERGED

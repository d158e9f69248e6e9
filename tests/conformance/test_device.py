"""Every device of this machine computes what the CPU does: `doctor`'s probe, asserted."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from backends import get
from backends.contract import Objective, OptimizerSpec
from backends.prefix import shared
from backends.probe import probe
from mindprint.cli.machine import probe as probe_apart
from tests.conformance.conftest import BACKENDS, ModelFolder, OpenSession
from tests.conformance.trained import attach
from tests.tiny import preference_batch, window_of, with_reference

LONG = ((19, 5, 4), (24, 3, 8), (13, 4, 2), (22, 6, 6))
"""Pairs (prompt, chosen, rejected) whose prompts are worth sharing."""
SHORT = ((2, 15, 14), (3, 13, 18), (2, 14, 12), (3, 16, 16))

DEVICES = [
    (backend, device)
    for backend in BACKENDS
    for device in (get(backend).availability().devices or ("cpu",))
]


@pytest.mark.parametrize(("backend", "device"), DEVICES)
def test_a_device_computes_what_the_cpu_does(
    model_of: ModelFolder, backend: str, device: str
) -> None:
    checks = probe(backend, device, str(model_of("qwen2")))
    assert [check for check in checks if not check.ok] == []
    assert len(checks) == (7 if device == "cpu" else 13)


@pytest.mark.parametrize("shapes", [LONG, SHORT], ids=["shared prompts", "plain"])
@pytest.mark.parametrize(("backend", "device"), DEVICES)
def test_the_same_gradient_twice(
    model_of: ModelFolder,
    open_session: OpenSession,
    backend: str,
    device: str,
    shapes: tuple[tuple[int, int, int], ...],
) -> None:
    """Bit for bit: on a GPU attention under a mask of one's own goes back by another kernel."""
    session = open_session(backend, model_of("qwen2"), device=device, dtype="auto")
    attach(session, "topic", seed=5)
    batch = with_reference(preference_batch(np.random.default_rng(6), shapes), session)
    assert (shared(batch) is not None) == (shapes is LONG)
    learner = session.learner(Objective("dpo", sft_weight=0.5), OptimizerSpec())
    (loss, first), *others = (learner.gradients(batch, window_of(batch)) for _ in range(3))
    assert np.isfinite(loss) and any(values.any() for values in first.values())
    for other, again in others:
        assert other == loss
        for name, values in first.items():
            assert np.array_equal(again[name], values), name


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_probe_in_a_process_of_its_own(model_of: ModelFolder, backend: str) -> None:
    checks = probe_apart(backend, "cpu", model_of("qwen2"))
    assert len(checks) == 7 and all(check["ok"] for check in checks)


def test_a_crash_is_a_finding(tmp_path: Path) -> None:
    (check,) = probe_apart("torch", "cpu", tmp_path / "nowhere")
    assert not check["ok"] and "no model at" in check["detail"]
    (check,) = probe_apart("nonsense", "cpu", tmp_path)
    assert not check["ok"] and "no backend `nonsense`" in check["detail"]

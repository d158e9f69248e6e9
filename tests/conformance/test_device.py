"""Every device of this machine computes what the CPU does: `doctor`'s probe, asserted."""

from __future__ import annotations

from pathlib import Path

import pytest

from backends import get
from backends.probe import probe
from mindprint.cli.machine import probe as probe_apart
from tests.conformance.conftest import BACKENDS, ModelFolder

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
    assert len(checks) == (5 if device == "cpu" else 7)


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_probe_in_a_process_of_its_own(model_of: ModelFolder, backend: str) -> None:
    checks = probe_apart(backend, "cpu", model_of("qwen2"))
    assert len(checks) == 5 and all(check["ok"] for check in checks)


def test_a_crash_is_a_finding(tmp_path: Path) -> None:
    (check,) = probe_apart("torch", "cpu", tmp_path / "nowhere")
    assert not check["ok"] and "no model at" in check["detail"]
    (check,) = probe_apart("nonsense", "cpu", tmp_path)
    assert not check["ok"] and "no backend `nonsense`" in check["detail"]

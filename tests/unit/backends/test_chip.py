"""Which GPU a model was opened on, as the frameworks tell it."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from backends.mlx import chip as on_mlx
from backends.torch import chip as on_torch


def test_a_cuda_device_is_known_by_its_kind(monkeypatch: pytest.MonkeyPatch) -> None:
    told = SimpleNamespace(name="H100", major=9, minor=0, multi_processor_count=132)
    monkeypatch.setattr("torch.cuda.current_device", lambda: 0)
    monkeypatch.setattr("torch.cuda.get_device_properties", lambda _: told)
    assert on_torch.chip("cuda").startswith("H100 9.0, 132 multiprocessors, CUDA")
    assert on_torch.chip("cpu") == on_torch.chip("mps") == ""


def test_of_mlx_devices_only_what_does_not_change(monkeypatch: pytest.MonkeyPatch) -> None:
    told = {"device_name": "Apple M3", "architecture": "applegpu_g15s", "free_memory": 5}
    monkeypatch.setattr(on_mlx, "mx", SimpleNamespace(device_info=lambda: told))
    assert on_mlx.chip("gpu") == "device_name Apple M3, architecture applegpu_g15s"
    assert on_mlx.chip("cpu") == ""

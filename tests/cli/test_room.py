"""A disk that cannot hold the run: found before the model is opened, both numbers said."""

from __future__ import annotations

from collections import namedtuple
from pathlib import Path

import pytest

from mindprint import plan, rundir
from mindprint.cli import execute
from tests.cli.conftest import Mindprint

Usage = namedtuple("Usage", "total used free")
FREE = 20_000_000
"""More than any run is asked for at least, less than this one's adapters of rank 4096."""


def test_a_run_that_the_disk_cannot_hold_is_refused_before_the_model_is_opened(
    mindprint: Mindprint,
    curriculum: Path,
    model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def opened(*_: object) -> None:
        raise AssertionError("the model was opened")

    monkeypatch.setattr(execute, "open_model", opened)
    monkeypatch.setattr(rundir.shutil, "disk_usage", lambda _: Usage(10**12, 0, FREE))
    out = tmp_path / "run"
    wide = ("--model", model, "--backend", "torch", "--set", "adapter.rank=4096")
    tree = mindprint("plan", curriculum, *wide, "--json").tree
    assert tree["adapter"] > 10_000_000
    assert FREE < tree["disk"]["sure"] <= tree["disk"]["most"]
    said = mindprint("train", curriculum, *wide, "--out", out)
    assert said.code == 2
    assert f"{tree['disk']['sure'] / 1e6:,.1f} MB wanted, 20.0 MB free" in said.err
    assert not out.exists()


def test_the_plan_says_what_is_free(
    mindprint: Mindprint, curriculum: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plan.shutil, "disk_usage", lambda _: Usage(10**12, 0, 3 << 30))
    said = mindprint("plan", curriculum, "--model", model, "--backend", "torch").out
    (adapter,) = [line for line in said.splitlines() if line.startswith("adapter")]
    (disk,) = [line for line in said.splitlines() if line.startswith("disk")]
    assert "layers of a model of" in adapter
    assert "up to" in disk and "3.0 GiB free" in disk

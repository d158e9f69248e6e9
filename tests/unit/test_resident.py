"""A process's own memory, not that of what started it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from backends import resident

MB = 1 << 20
TOLD = """
import numpy
from backends import resident
before = resident.peak()
numpy.ones(64 << 20, numpy.uint8)  # freed at once
print(before, resident.peak(), resident.resident())
"""


def test_the_peak_stays_and_is_no_parents() -> None:
    ballast = np.ones(400 * MB, np.uint8)
    done = subprocess.run(
        [sys.executable, "-c", TOLD], capture_output=True, text=True, check=True, timeout=60
    )
    before, peak, now = map(int, done.stdout.split())
    assert resident.resident() > ballast.nbytes
    assert before < 200 * MB, "it tells of its parent"
    assert peak - before > 50 * MB
    assert now < peak - 50 * MB


@pytest.mark.parametrize("held", [None, "Name:\tpython\n"])
def test_without_the_kernels_mark_the_systems_own_count(
    held: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    status = tmp_path / "status"
    if held is not None:
        status.write_text(held)
    monkeypatch.setattr(resident, "STATUS", status)
    assert resident.peak() >= resident.resident() // 2

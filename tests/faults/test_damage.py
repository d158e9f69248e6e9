"""Any file of a run's folder damaged: a correct continuation, or a refusal that names the file."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.faults import damage


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return damage.stopped_run(tmp_path_factory.mktemp("damage"))


def test_every_file_once(stopped: Path, tmp_path: Path) -> None:
    """Every file, each by one of the damages in turn; `damage.table` makes all of them."""
    cells = damage.cells(stopped)
    drawn = random.Random(20)
    files = sorted({file for file, _ in cells})
    chosen = [(file, drawn.choice([how for one, how in cells if one == file])) for file in files]
    assert {"ledger.json", "inputs.json", "config.yaml", "plan.json", "events.jsonl"} <= set(files)
    rows = damage.outcomes(stopped, tmp_path, chosen)
    assert [row for row in rows if row[2].startswith("WRONG")] == []
    assert {row[2] for row in rows} == {damage.SAME, damage.SAID, damage.REFUSED}

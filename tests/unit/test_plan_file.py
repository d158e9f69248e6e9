"""A run that goes on does what it was planned to do, or says what would be otherwise."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from mindprint.disk.sealed import Damaged
from mindprint.errors import ConfigError
from mindprint.plan_file import keep_plan
from mindprint.rundir import RunDir


def planned(steps: int = 4, questions: int = 9, choice: str = "torch", dpo: bool = False) -> Any:
    stages = [{"topic": "u/c/a", "name": "sft", "steps": steps}]
    if dpo:
        stages.append({"topic": "u/c/a", "name": "dpo", "steps": 2})
    tree = {"stages": stages, "questions": questions, "choices": [{"name": choice}]}
    return SimpleNamespace(as_json=lambda: tree)


def test_another_plan_is_refused_with_what_differs(tmp_path: Path) -> None:
    run = RunDir.create(tmp_path / "run")
    keep_plan(run, planned())
    keep_plan(run, planned(choice="mlx"))  # another backend computes the same plan
    with pytest.raises(ConfigError) as caught:
        keep_plan(run, planned(steps=6, questions=8, dpo=True))
    assert caught.value.what.endswith(
        "began with: questions 9 -> 8; u/c/a sft: steps 4 -> 6; u/c/a dpo: was not planned"
    )


def test_a_changed_plan_file_is_not_believed(tmp_path: Path) -> None:
    run = RunDir.create(tmp_path / "run")
    keep_plan(run, planned())
    where = run.path / "plan.json"
    where.write_text(where.read_text("utf-8").replace('"steps": 4', '"steps": 5'), "utf-8")
    with pytest.raises(Damaged, match=r"plan\.json"):
        keep_plan(run, planned(steps=5))

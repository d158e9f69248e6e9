"""`--engine`: what goes with it, what does not, and that a run keeps it."""

from __future__ import annotations

import json
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from backends import engine
from backends.errors import AdapterError, BackendUnavailable
from backends.torch import trl
from mindprint.cli import execute
from mindprint.inputs import read_inputs, write_inputs
from mindprint.rundir import RunDir
from mindprint.sameness import write_config_again
from tests.cli.conftest import Mindprint
from tests.cli.test_train import QUICK

TRL = ("--set", "run.engine=trl")


def test_the_plan_says_who_takes_the_steps_and_why(
    mindprint: Mindprint, curriculum: Path, model: Path
) -> None:
    plain = mindprint("plan", curriculum, "--model", model, "--backend", "torch", "--json")
    asked = mindprint("plan", curriculum, "--model", model, *TRL, "--json")
    found = [
        {choice["key"]: (choice["name"], choice["because"]) for choice in said.tree["choices"]}
        for said in (plain, asked)
    ]
    assert found[0]["engine"][0] == "native"
    assert found[1]["engine"] == ("trl", "named by --set run.engine=trl")
    assert found[1]["backend"] == ("torch", "what the engine `trl` runs on")
    assert plain.tree["stages"] == asked.tree["stages"]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--backend", "mlx"), "`run.engine: trl` runs on torch, not on mlx"),
        (("--set", "run.on_oom=shrink"), "`run.on_oom: shrink` (a stage that is taken whole"),
        (("--set", "run.checkpoint_every=50"), "`run.checkpoint_every: 50` (nothing is saved"),
        (("--set", "dpo.loss=ipo"), "`dpo.loss: ipo` (TRL's ipo divides each log-ratio"),
    ],
)
def test_what_does_not_go_with_it_is_refused(
    mindprint: Mindprint,
    curriculum: Path,
    model: Path,
    no_model: None,
    words: tuple[str, ...],
    told: str,
) -> None:
    said = mindprint("train", curriculum, "--model", model, "--engine", "trl", *words)
    assert said.code == 2 and told in said.error


def test_an_unknown_engine_is_refused(
    mindprint: Mindprint, curriculum: Path, model: Path, no_model: None
) -> None:
    said = mindprint("train", curriculum, "--model", model, "--engine", "trll")
    assert said.code == 2 and "--engine" in said.error and "one of: native, trl" in said.error
    with pytest.raises(BackendUnavailable) as found:
        engine("trll")
    assert found.value.hint == "did you mean `trl`? use one of: native, trl"


@pytest.mark.parametrize(
    ("needs", "told", "hint"),
    [
        ({"no-such-library": "1"}, "not installed: no-such-library", 'install "mindprint[trl]"'),
        ({"trl": "99.0"}, "too old: trl", 'pip install "mindprint[trl]" --upgrade'),
    ],
)
def test_without_trl_the_way_to_it_is_told(
    mindprint: Mindprint,
    curriculum: Path,
    model: Path,
    no_model: None,
    monkeypatch: pytest.MonkeyPatch,
    needs: dict[str, str],
    told: str,
    hint: str,
) -> None:
    monkeypatch.setattr(trl, "NEEDS", needs)
    said = mindprint("train", curriculum, "--model", model, "--engine", "trl")
    assert said.code == 69 and told in said.error and hint in said.error


def test_a_run_keeps_its_engine(
    mindprint: Mindprint,
    curriculum: Path,
    model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Asked as the run begins and as it is gone on with; another one needs a fork."""
    asked: list[int] = []

    def train(self: Any, session: Any, objective: Any, optimizer: Any, course: Any, _: Any) -> None:
        asked.append(course.steps)
        raise AdapterError("the engine was asked")

    monkeypatch.setattr(trl.TrlEngine, "train", train)
    run = tmp_path / "r"
    settings = [word for setting in QUICK for word in ("--set", setting)]
    said = mindprint(
        "train", curriculum, "--model", model, "--engine", "trl", "--out", run, *settings
    )
    assert "the engine was asked" in said.error
    tree = json.loads((run / "inputs.json").read_text())
    assert tree["config"]["run.engine"] == "trl" and "trl" in tree["versions"]
    assert json.loads((run / "result.json").read_text())["config"]["run.engine"][0] == "trl"
    assert "the engine was asked" in mindprint("resume", run).error
    assert len(asked) == 2 and asked[0] == asked[1] > 0
    other = mindprint("resume", run, "--set", "run.engine=native")
    assert other.code == 2 and "run.engine" in other.err


def test_a_run_that_saved_within_its_stages_is_forked_to_one_that_cannot(
    mindprint: Mindprint, stopped: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The fork keeps what its run was told: the way to set it back is told, and holds later too."""
    told = read_inputs(stopped)
    config = {**told.config, "run.checkpoint_every": 50}
    origins = {**told.origins, "run.checkpoint_every": "--set run.checkpoint_every=50"}
    write_inputs(stopped, replace(told, config=config, origins=origins))
    write_config_again(RunDir(stopped), read_inputs(stopped))
    monkeypatch.setattr(execute, "open_model", lambda prepared: signal.raise_signal(signal.SIGINT))
    fork = ("resume", stopped, "--fork", tmp_path / "new", *TRL)
    said = mindprint(*fork)
    assert said.code == 2 and "`run.checkpoint_every: 50` (nothing is saved" in said.error
    back = ("--set", "run.checkpoint_every=200")
    assert f"use `{' '.join(back)}`, or the engine `native`" in said.error
    assert mindprint(*fork, *back).code == 130
    assert read_inputs(tmp_path / "new").config["run.engine"] == "trl"
    assert mindprint("resume", tmp_path / "new").code == 130

"""A run for which there is no room: refused before the model is opened, or trained with less."""

from __future__ import annotations

import re
import shlex
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from backends.room import Room
from mindprint import probe
from mindprint.cli import execute, memory
from mindprint.inputs import read_inputs
from tests.cli.conftest import Mindprint
from tests.cli.test_train import QUICK

MIB = 1 << 20


def _always(value: bool, **_: object) -> bool:
    return value


@pytest.fixture
def asked(model: Path) -> tuple[object, ...]:
    return ("--model", model, "--backend", "torch", "--device", "cpu")


def leave(monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    monkeypatch.setattr(memory, "main_memory", lambda: Room(size, "free of this machine's memory"))


def need(mindprint: Mindprint, *words: object) -> dict[str, Any]:
    """The plan's parts by name."""
    tree = mindprint("plan", *words, "--json").tree
    return {part["part"]: part for part in tree["memory"]["parts"]}


def test_the_plan_says_what_each_part_takes_and_that_time_was_not_measured(
    mindprint: Mindprint, curriculum: Path, asked: tuple[object, ...]
) -> None:
    said = mindprint("plan", curriculum, *asked).out
    for part in ("evaluation", "sft", "dpo"):
        (line,) = [one for one in said.splitlines() if one.startswith(f"memory, {part} ")]
        assert "at most: process" in line and "weights" in line
    assert "free of this machine's memory" in said or "container's limit" in said
    assert "time not measured" in " ".join(said.split())
    assert "floating-point, of training alone: sft " in " ".join(said.split())
    assert "of native steps" not in said
    by_trl = mindprint("plan", curriculum, *asked, "--set", "run.engine=trl").out
    assert "of native steps" in " ".join(by_trl.split())
    tree = mindprint("plan", curriculum, *asked, "--json").tree
    assert tree["operations"]["sft"] > 0 and set(tree["operations"]) == {"sft", "dpo"}
    for part in tree["memory"]["parts"]:
        made_of = ("framework", "weights", "adapters", "passes")
        assert part["total"] == sum(part[key] for key in made_of)


def test_what_does_not_fit_is_refused_before_anything_is_there(
    mindprint: Mindprint,
    curriculum: Path,
    asked: tuple[object, ...],
    no_model: None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    wide = (*asked, "--set", "sft.batch_size=8", "--set", "dpo.when=never")
    two = need(mindprint, curriculum, *asked, "--set", "sft.batch_size=2")["sft"]["total"]
    # So small a model's steps lie within the margin of each other, and its answers above them.
    monkeypatch.setattr("mindprint.memory.room.MARGIN", 0.0)
    monkeypatch.setattr("mindprint.memory.estimate.DECODED", 1)
    leave(monkeypatch, two)
    off = ("--set", "model.gradient_checkpointing=off", "--set", "eval.max_tokens=8")
    for verb, more in (("plan", ()), ("train", ("--out", tmp_path / "run"))):
        said = mindprint(verb, curriculum, *wide, *off, *more)
        assert said.code == 2, said.err
        assert "no room for sft" in said.error
        assert "`--set sft.batch_size=2 --set sft.accumulate=4`" in said.error
        assert "run.memory_check=warn" in said.error
    assert not (tmp_path / "run").exists()
    mended = ("--set", "sft.batch_size=2", "--set", "sft.accumulate=4")
    assert mindprint("plan", curriculum, *wide, *off, *mended).code == 0
    warned = mindprint("plan", curriculum, *wide, *off, "--set", "run.memory_check=warn")
    assert warned.code == 0 and "may not fit" in warned.out


def test_checkpointing_that_memory_asks_for_reaches_the_learner_and_the_report(
    mindprint: Mindprint,
    curriculum: Path,
    asked: tuple[object, ...],
    topics: tuple[str, ...],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("mindprint.memory.estimate.framework", lambda _: 0)
    quick = [word for setting in QUICK for word in ("--set", setting)]
    words = (*asked, *quick, "--set", "dpo.when=never", "--set", "sft.batch_size=6")
    words = (*words, "--topic", topics[0], "--set", "eval.max_tokens=8")
    on = ("--set", "model.gradient_checkpointing=on")
    plain = need(mindprint, curriculum, *words)["sft"]["total"]
    saving = need(mindprint, curriculum, *words, *on)["sft"]["total"]
    assert saving < plain
    monkeypatch.setattr("mindprint.memory.estimate.DECODED", 1)
    leave(monkeypatch, (saving + plain) // 2)
    seen: list[bool] = []
    opened = execute.open_model

    def watched(prepared: Any) -> Any:
        session = opened(prepared)
        real = session.learner

        def learner(objective: Any, optimizer: Any, *, checkpointing: bool = False) -> Any:
            seen.append(checkpointing)
            return real(objective, optimizer, checkpointing=checkpointing)

        session.learner = learner  # type: ignore[method-assign]
        return session

    monkeypatch.setattr(execute, "open_model", watched)
    said = mindprint("train", curriculum, *words, "--out", tmp_path / "run", "--json")
    assert said.code in (0, 1), said.err
    assert seen and all(seen)
    assert "on for sft" in said.err and "without it" in said.err
    told = {choice["key"]: choice["name"] for choice in said.tree["choices"]}
    assert told["gradient checkpointing"] == "on for sft"
    assert said.tree["expected_memory"]["sft"] == saving
    assert "The plan expected at most" in (tmp_path / "run" / "report.md").read_text("utf-8")


def test_a_run_that_grew_too_large_is_told_how_it_can_go_on(
    mindprint: Mindprint, stopped: Path, no_model: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    leave(monkeypatch, MIB)
    said = mindprint("resume", stopped)
    assert said.code == 2
    assert "no room for" in said.error and "use a smaller model" in said.error
    assert "run.memory_check=warn" in said.error


def test_the_run_that_would_fit_is_asked_for_as_it_was_asked_for_before(
    mindprint: Mindprint,
    stopped: Path,
    no_model: None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A resumed run is told the fork that fits, a fork itself in other settings; nothing is
    written before, and what is named does as it is typed."""
    monkeypatch.setattr("mindprint.memory.estimate.framework", lambda _: 0)
    monkeypatch.setattr("mindprint.memory.room.MARGIN", 0.0)
    monkeypatch.setattr("mindprint.memory.estimate.DECODED", 1)
    off = ("--set", "model.gradient_checkpointing=off", "--device", "cpu")
    own = ("--config", stopped / "config.yaml", "--backend", "torch", *off)
    small = ("--set", "sft.batch_size=1", "--set", "dpo.batch_size=1")
    least = need(mindprint, read_inputs(stopped).curriculum, *own, *small)
    leave(monkeypatch, max(part["total"] for part in least.values()) + 1000)
    before = sorted(path.name for path in tmp_path.iterdir())
    resumed = mindprint("resume", stopped, *off)
    assert resumed.code == 2, resumed.err
    (typed,) = re.findall(r"in a new run: `mindprint (.+?)`", resumed.error)
    assert typed.startswith(f"resume {stopped} --fork NEW --device cpu --set ")
    fork = mindprint("resume", stopped, "--fork", "NEW", *off)
    assert fork.code == 2, fork.err
    assert re.findall(r"in a new run: `mindprint (.+?)`", fork.error) == [typed]
    assert sorted(path.name for path in tmp_path.iterdir()) == before
    said = mindprint(*shlex.split(typed))
    assert "the model was opened" in said.err and "no room for" not in said.err


def test_weights_are_counted_in_the_precision_that_the_device_can(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    material: Any = SimpleNamespace(backend=SimpleNamespace(name="torch"), device="cuda")
    material.dtype = "auto"
    for there, expected in ((True, "bfloat16"), (False, "float32")):
        monkeypatch.setattr("torch.cuda.is_bf16_supported", partial(_always, there))
        assert memory.place_of(material).dtype == expected
    material.dtype = "bfloat16"
    assert memory.place_of(material).dtype == "bfloat16"


def test_how_memory_is_met_may_change_as_a_run_goes_on(
    mindprint: Mindprint, stopped: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    leave(monkeypatch, MIB)
    changed = ("--set", "run.memory_check=warn", "--set", "model.gradient_checkpointing=on")
    said = mindprint("resume", stopped, *changed)
    assert said.code in (0, 1), said.err
    assert "`model.gradient_checkpointing` is on from here on, it was auto" in said.err
    assert "`run.memory_check` is warn from here on, it was refuse" in said.err


def test_trls_trainers_are_not_told_to_checkpoint(
    mindprint: Mindprint, curriculum: Path, asked: tuple[object, ...], no_model: None
) -> None:
    words = ("--engine", "trl", "--set", "model.gradient_checkpointing=on")
    said = mindprint("train", curriculum, *asked, *words)
    assert said.code == 2
    assert "model.gradient_checkpointing: on" in said.error
    assert "--set model.gradient_checkpointing=off" in said.error


def test_a_probe_counts_what_it_does_not_time_itself(
    mindprint: Mindprint,
    curriculum: Path,
    asked: tuple[object, ...],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = iter(range(10**6))
    monkeypatch.setattr(probe.time, "perf_counter", lambda: next(clock))
    tree = mindprint("plan", curriculum, *asked, "--probe", "--json").tree
    found, stages = tree["probe"], tree["stages"]
    # Every look at the clock is a second later than the one before.
    assert found["sft_step"] == found["dpo_step"] == pytest.approx(1 / probe.STEPS)
    steps = sum(stage["steps"] for stage in stages) / probe.STEPS
    pairs = sum(stage["rows"] for stage in stages if stage["name"] == "dpo")
    expected = found["opening"] + steps + pairs * found["reference"]
    expected += tree["questions"] * found["question"]
    assert found["reference"] > 0 and found["question"] > 0
    assert found["total"] == pytest.approx(expected)

"""Whole runs with DoRA and with LS-LoRA: stopped and killed on the way, they end as undisturbed."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest

from backends import lora, peft_files, spline
from backends.contract import Batch, Learner, Session, StepStats, Window
from mindprint import ledger as ledgers
from mindprint.disk.sealed import read_json
from mindprint.errors import Interrupted
from mindprint.events import Event
from mindprint.rundir import RunDir
from mindprint.strategies.sequential import Sequential
from tests.conformance.conftest import ModelFolder
from tests.runs import Made, curriculum, make_run, tree_bytes
from tests.tiny import make_tokenizer

# Dropout draws from a stream of its own, which a checkpoint has to hold too.
SETTINGS = (
    "sft.epochs=2",
    "sft.batch_size=2",
    "dpo.when=always",
    "gate.rollback=false",
    "run.checkpoint_every=2",
    "eval.max_tokens=4",
    "eval.retention=off",
    "eval.few_shot=0",
    "adapter.rank=2",
    "adapter.alpha=4",
    "adapter.dropout=0.1",
    "adapter.targets=[q_proj,down_proj]",
)


@dataclass(frozen=True)
class Case:
    backend: str
    kind: str
    own: tuple[str, ...]
    handoff: str

    @property
    def settings(self) -> tuple[str, ...]:
        return (*SETTINGS, f"adapter.kind={self.kind}", *self.own)


NEW, ONE = ("dpo.adapter=new", "dpo.rank=1"), ("handoff=continue",)
CASES = (
    Case("torch", "dora", NEW, "merge"),
    Case("torch", "lslora", ONE, "continue"),
    Case("mlx", "dora", ONE, "continue"),
    Case("mlx", "lslora", NEW, "stack"),
)


class PowerCut(BaseException):
    """Ends a run where it stands, as a kill does: nothing can catch it and save."""


@pytest.fixture(scope="module")
def model(model_of: ModelFolder) -> Path:
    return make_tokenizer(model_of("qwen2", initializer_range=0.02))


@pytest.fixture(params=CASES, ids=lambda case: f"{case.kind}-{case.backend}")
def case(request: pytest.FixtureRequest) -> Case:
    found: Case = request.param
    return found


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, model: Path) -> Callable[[Case], Made]:
    """The run that nothing befell, once a case."""

    @lru_cache
    def run(case: Case) -> Made:
        return trained(tmp_path_factory.mktemp("whole") / "run", model, case)

    return run


def trained(path: Path, model: Path, case: Case, **hooks: Any) -> Made:
    return make_run(path, model, case.backend, *case.settings, teach=curriculum(2, rows=4), **hooks)


def test_a_run_is_of_its_kind_from_end_to_end(
    case: Case, undisturbed: Callable[[Case], Made]
) -> None:
    made = undisturbed(case)
    ledger = ledgers.read(RunDir(made.path))
    assert ledger.handoff == case.handoff
    assert {entry.kind for entry in ledger.entries} == {case.kind}
    assert [entry.stage for entry in ledger.entries] == ["sft", "dpo"] * 2
    assert len(ledger.acting()) == (1 if case.handoff == "continue" else 4)
    assert made.result is not None and made.result.status == "finished"
    chosen = {one.key: one for one in made.result.choices}["handoff"]
    assert chosen.name == case.handoff
    assert ("LS-LoRA" in chosen.because) == (case.handoff == "stack")
    for entry in ledger.entries:
        spec, tensors = peft_files.read(made.path / entry.folder)
        assert (spec.kind, spec.rank) == (case.kind, entry.rank)
        for path in lora.paths_of(tensors):
            found = {name: tensors[name].shape for name in tensors if name.startswith(f"{path}.")}
            out, inputs = found[lora.name_b(path)][0], found[lora.name_a(path)][1]
            assert found == lora.shapes(spec, path, out, inputs)


def test_the_penalty_is_told_of_each_step_and_kept_apart_from_the_loss(
    case: Case, undisturbed: Callable[[Case], Made]
) -> None:
    made = undisturbed(case)
    steps = [event for event in made.events if event.kind == "step"]
    if case.kind == "dora":
        assert not any("penalty" in event.data for event in steps)
        return
    topic = steps[0].topic
    sft = [event for event in steps if (event.topic, event.stage) == (topic, "sft")]
    told = [event.data.get("penalty", 0.0) for event in sft]
    # B is zero in the first step, so that nothing reaches the spline, and it moves in the second.
    assert told[:2] == [0.0, 0.0] and len(told) == 4 and all(value > 0 for value in told[2:])
    folder = made.path / "topics" / topic / "sft"
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert [row["penalty"] for row in rows if "penalty" in row] == told[2:]
    spec, tensors = peft_files.read(folder)
    assert spec.spline is not None
    moved = [
        abs(tensors[lora.name_v(path)] - spline.knots(spec.spline)).max()
        for path in lora.paths_of(tensors)
    ]
    assert min(moved) > 0
    if "dpo.adapter=new" in case.own:  # what is fresh begins at its reference, and at no penalty
        dpo = next(event for event in steps if event.stage == "dpo")
        assert dpo.data["margin"] == pytest.approx(0, abs=1e-4) and "penalty" not in dpo.data


def test_stopped_in_the_second_topic_it_ends_as_undisturbed(
    tmp_path: Path, case: Case, model: Path, undisturbed: Callable[[Case], Made]
) -> None:
    """Over a past that is loaded again: merged, stacked as branches, or trained on."""
    stage = "dpo" if case.own == NEW else "sft"
    seen: list[int] = []

    def listen(event: Event, session: Session) -> None:
        if event.kind == "step" and event.stage == stage and event.topic.endswith("topic-1"):
            seen.append(int(event.data["step"]))

    with pytest.raises(Interrupted):
        trained(tmp_path / "run", model, case, stop=lambda: 1 in seen, listen=listen)
    later = trained(tmp_path / "run", model, case)
    assert "going on from step 1" in later.notices()
    alike(later, undisturbed(case))


def test_killed_in_the_middle_of_a_window_it_ends_as_undisturbed(
    tmp_path: Path,
    case: Case,
    model: Path,
    undisturbed: Callable[[Case], Made],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """From the checkpoint of step 2, with all that belongs to the kind in it."""
    real, windows = Sequential.step, []

    def cut(
        self: Sequential,
        learner: Learner,
        batches: Sequence[Batch],
        window: Window,
        learning_rate: float,
        max_grad_norm: float,
    ) -> tuple[list[StepStats], float]:
        windows.append(len(batches))
        if len(windows) == 4:
            learner.accumulate(batches[0], window)
            raise PowerCut
        return real(self, learner, batches, window, learning_rate, max_grad_norm)

    with monkeypatch.context() as patched, pytest.raises(PowerCut):
        patched.setattr(Sequential, "step", cut)
        trained(tmp_path / "run", model, case)
    later = trained(tmp_path / "run", model, case)
    assert "going on from step 2" in later.notices()
    alike(later, undisturbed(case))


def alike(found: Made, wanted: Made) -> None:
    assert tree_bytes(found.path) == tree_bytes(wanted.path)
    for file in sorted(wanted.path.rglob("metrics.jsonl")):
        assert (found.path / file.relative_to(wanted.path)).read_bytes() == file.read_bytes()
    topics = [read_json(made.path / "result.json")["topics"] for made in (found, wanted)]
    for one, other in zip(*topics, strict=True):
        assert one["scores"] == other["scores"]

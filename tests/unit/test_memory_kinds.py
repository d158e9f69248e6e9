"""What DoRA and LS-LoRA cost: memory, operations, and branches that grow from topic to topic."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mindprint.adapter import spec_of
from mindprint.config import resolve
from mindprint.curriculum.records import Topic
from mindprint.footprint import Footprint, read_sizes
from mindprint.memory.alive import KEPT
from mindprint.memory.branches import branches
from mindprint.memory.estimate import Estimate, Place
from mindprint.memory.operations import counted, of_row, step
from mindprint.memory.outlook import outlook
from mindprint.memory.shape import factors
from mindprint.plan import Plan, PlannedStage
from mindprint.tokens.lessons import Lesson, Pair
from mindprint.tokens.rows import Row
from tests.tiny import make_model

BACKENDS = ("torch", "mlx")
BENT = "adapter.kind=lslora"
ROW = Row(tuple(range(3, 103)), (False,) * 60 + (True,) * 40, False)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model(tmp_path_factory.mktemp("model"), "qwen2", vocab_size=2048)


@pytest.fixture(autouse=True)
def exact(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is taken but what goes by the work, so that sums can be told by hand."""
    for backend in BACKENDS:
        monkeypatch.setitem(KEPT, backend, replace(KEPT[backend], least=0, held=0, bent=1))


def estimate(
    folder: Path, *settings: str, topics: int = 1, backend: str = "torch", dtype: str = "float32"
) -> Estimate:
    names = [f"t{number}" for number in range(topics)]
    lessons = tuple(
        Lesson(Topic(name, "", "", (), (), ()), (ROW,) * 6, (), (Pair(ROW, ROW),), 0, 0)
        for name in names
    )
    kinds: tuple[Any, ...] = ("sft", "dpo")
    stages = tuple(
        PlannedStage(name, kind, 6 if kind == "sft" else 1, 0, 0, 1, 1, 2, True)
        for name in names
        for kind in kinds
    )
    plan = Plan(stages, lessons, (), 12, 0, 0, 100, 0)
    config = resolve(None, ["eval.max_tokens=8", "sft.batch_size=3", *settings]).config
    return Estimate.of(plan, config, folder, Place(backend, "cpu", dtype))


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_magnitude_keeps_what_it_scales(folder: Path, backend: str) -> None:
    """One more array as wide as each adapted layer's outputs, and the magnitudes themselves."""
    plain, dora = (
        estimate(folder, *kind, backend=backend).stage("sft")
        for kind in ((), ("adapter.kind=dora",))
    )
    sizes = read_sizes(folder)
    outputs = sum(out for out, _ in sizes.linears.values())
    tokens = 3 * 104  # widths are multiples of 8
    layers = estimate(folder).shape.layers
    # The last layer counts whole in both, so that all layers' outputs are in the difference.
    assert layers == 2
    assert dora.passes - plain.passes == pytest.approx(4 * tokens * outputs, abs=layers)
    assert dora.adapters - plain.adapters == 5 * 4 * outputs  # with gradient and moments


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_spline_keeps_its_inputs_frozen_or_not(folder: Path, backend: str, dtype: str) -> None:
    first, second, third = (
        estimate(folder, BENT, topics=topics, backend=backend, dtype=dtype).stage("sft")
        for topics in (1, 2, 3)
    )
    outputs = sum(out for out, _ in read_sizes(folder).linears.values())
    each = (4 if dtype == "float32" else 2) * 3 * 104 * outputs
    assert third.passes - second.passes == pytest.approx(each, abs=2)
    assert second.passes - first.passes == pytest.approx(each, abs=2)
    own = factors(read_sizes(folder), spec_of(resolve(None, [BENT]).config)).bytes
    assert third.adapters - second.adapters == own
    plain = estimate(folder, topics=3, backend=backend, dtype=dtype).stage("sft")
    assert third.passes - plain.passes == pytest.approx(3 * each, abs=3)


def test_a_spline_is_stacked_where_factors_are_merged(folder: Path) -> None:
    assert estimate(folder, topics=2).frozen("sft", 1) == ()
    assert estimate(folder, "adapter.kind=dora", topics=2).frozen("sft", 1) == ()
    (branch,) = estimate(folder, BENT, topics=2).frozen("sft", 1)
    assert branch.kind == "lslora"
    one_for_all = estimate(folder, BENT, "handoff=continue", topics=3)
    assert one_for_all.frozen("sft", 2) == () and branches(one_for_all) is None
    both = estimate(folder, BENT, "dpo.adapter=new", "dpo.rank=2", topics=3)
    assert [one.rank for one in both.frozen("sft", 2)] == [16, 2, 16, 2]
    assert [one.rank for one in both.frozen("dpo", 1)] == [16, 16, 2]


def test_the_branches_of_another_run_count_too(folder: Path) -> None:
    made = estimate(folder, topics=2)
    known = Footprint(1, 1, 1, 0, 1, 1).with_past(1 << 20, branches=3)
    over = replace(made, plan=replace(made.plan, footprint=known))
    assert over.handoff == "stack" and made.handoff == "merge"
    found = branches(over)
    assert found is not None and found.most == 3
    assert over.stage("sft").passes > made.stage("sft").passes


def test_operations_grow_with_what_is_stacked(folder: Path) -> None:
    def sft(*settings: str, topics: int) -> int:
        return counted(estimate(folder, *settings, topics=topics))["sft"]

    assert sft(topics=3) == 3 * sft(topics=1)  # merged: nothing stays beside the weights
    for settings in ((BENT,), ("handoff=stack",)):
        first, second, third = (sft(*settings, topics=topics) for topics in (1, 2, 3))
        numbers = factors(read_sizes(folder), spec_of(resolve(None, list(settings)).config)).numbers
        passed = 6 * 2 * 2 * numbers * 100  # there and back through each, of six rows
        assert second - 2 * first == passed and third - second - first == 2 * passed


def test_the_norms_of_dora_count_once_a_pass_and_not_a_token(folder: Path) -> None:
    made = estimate(folder, "adapter.kind=dora", "adapter.rank=4")
    own = made.training("sft")
    rows = [of_row(ROW)] * 6
    wanted = sum(step(made.shape, own, tokens) for tokens in rows) + 2 * own.norms
    assert counted(made)["sft"] == wanted
    by_hand = sum(2 * 4 * (o * i + 4 * i + 4 * o) for o, i in made.sizes.linears.values())
    assert own.norms == by_hand
    saving = counted(made, ("sft",))["sft"] - counted(made)["sft"]
    assert saving > 2 * own.norms  # worked out again on the way back
    dpo = counted(made)["dpo"]
    plain = counted(replace(made, config=resolve(None, ["adapter.rank=4"]).config))["dpo"]
    assert dpo - plain >= 3 * own.norms  # of two steps and the reference


def test_the_plan_shows_what_the_branches_cost(folder: Path) -> None:
    lines = {what: (value, note) for what, value, note in told(folder, BENT, topics=4)}
    value, note = lines["branches"]
    assert value == "3 a layer" and "LS-LoRA is stacked" in note and "`--probe` times it" in note
    for settings in (("handoff=stack",), ("adapter.kind=dora",), (BENT, "handoff=continue")):
        assert "branches" not in dict(line[:2] for line in told(folder, *settings, topics=4))
    found = outlook(estimate(folder, BENT, topics=4), None).as_json()["branches"]
    assert found["most"] == 3 and found["operations"] > 1 and found["memory"] > 0


def told(folder: Path, *settings: str, topics: int) -> list[tuple[str, str, str]]:
    return outlook(estimate(folder, *settings, topics=topics), None).lines()

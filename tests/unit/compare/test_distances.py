"""Distances of adapters, against the full matrices in float64."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from backends.contract import Params
from mindprint.compare.distances import Adapters, distances
from mindprint.compare.model import Distance
from mindprint.compare.run import Run
from mindprint.stage_folder import write_stage
from tests.unit.compare.ground import entry, factors, result, run, stage, topic

MADE = result(topic("a", stage("sft", [1.0])), topic("b", stage("sft", [1.0])))
SCALE = 2.0  # alpha is twice the rank in `entry`


def whole(tensors: Params, path: str) -> np.ndarray:
    a, b = (tensors[f"layers.0.{path}.lora_{name}"].astype(np.float64) for name in "AB")
    return np.asarray(SCALE * (b @ a))


def size(*adapters: tuple[float, Params]) -> float:
    """Norm of the sum of all, each times its sign."""
    total = 0.0
    for path in ("up", "down"):
        parts = [sign * whole(held, path) for sign, held in adapters if has(held, path)]
        total += float(np.square(np.sum(parts, axis=0)).sum()) if parts else 0.0
    return float(total**0.5)


def has(tensors: Params, path: str) -> bool:
    return f"layers.0.{path}.lora_A" in tensors


def between(first: Run, other: Run) -> tuple[Distance, ...]:
    return distances(first, other, Adapters(first), Adapters(other))


def made(path: Path, *adapters: tuple[str, Params]) -> Run:
    path.mkdir()
    return run(path, MADE, [entry(path, name, tensors=held) for name, held in adapters])


def test_all_adapters_and_each_topics(tmp_path: Path) -> None:
    """Of different rank, and one that leaves a layer alone."""
    a, b = factors(1), factors(2, rank=3)
    c, d = factors(3), factors(4, rank=1, paths=("up",))
    first, other = (
        made(tmp_path / "h", ("a", a), ("b", b)),
        made(tmp_path / "t", ("a", c), ("b", d)),
    )
    found = {one.topic: one.relative for one in between(first, other)}
    wanted = size((1, c), (1, d), (-1, a), (-1, b)) / size((1, a), (1, b))
    assert found[""] == pytest.approx(wanted, rel=1e-5)  # six digits are kept
    assert found["a"] == pytest.approx(size((1, c), (-1, a)) / size((1, a)), rel=1e-5)
    assert found["b"] == pytest.approx(size((1, d), (-1, b)) / size((1, b)), rel=1e-5)
    assert Adapters(first).total == pytest.approx(size((1, a), (1, b)), rel=1e-5)


def test_equal_adapters_are_no_distance_apart(tmp_path: Path) -> None:
    """Not exactly 0 in float64 factors: 1e-15 of the norm is what subtracting leaves."""
    first, other = (made(tmp_path / name, ("a", factors(1))) for name in "ht")
    assert [one.relative for one in between(first, other)] == pytest.approx([0.0, 0.0], abs=1e-12)


@pytest.mark.parametrize(("steps", "bound"), [(100, 1e-3), (20, 2.5e-3), (1, 5e-2)])
def test_adapters_of_stages_that_are_held_have_a_bound(
    tmp_path: Path, steps: int, bound: float
) -> None:
    """Equal losses do not tell of an adapter that is another."""
    taught = result(topic("a", stage("sft", [1.0] * steps)))
    found = []
    for name, times in (("h", 1.0), ("t", 5.0)):
        path = tmp_path / name
        path.mkdir()
        held = {key: np.float32(times) * one for key, one in factors(1).items()}
        found.append(run(path, taught, [entry(path, "a", tensors=held)]))
    everything, own = between(*found)
    assert everything.relative == pytest.approx(24, rel=1e-5)  # both factors are 5 times as large
    assert everything.bound == own.bound == pytest.approx(bound)
    assert everything.past and own.past
    assert not between(found[0], found[0])[0].past


def test_adapters_of_stages_without_a_bound_have_none(tmp_path: Path) -> None:
    first = made(tmp_path / "h", ("a", factors(1)))
    (tmp_path / "t").mkdir()
    other = result(*MADE.topics, config={"sft.learning_rate": 1e-4})
    held = entry(tmp_path / "t", "a", tensors=factors(2))
    found = between(first, run(tmp_path / "t", other, [held]))
    assert [(one.bound, one.past) for one in found] == [(None, False)] * 2


def test_what_both_rolled_back_is_compared_by_its_stages(tmp_path: Path) -> None:
    taught = stage("sft", [2.0, 1.0], accepted=False)
    failed = result(topic("a", taught, status="failed"))
    runs = []
    for name, seed in (("h", 1), ("t", 2)):
        path = tmp_path / name
        path.mkdir()
        held = entry(path, "a", tensors=factors(seed), accepted=False)
        write_stage(path / "topics/a/sft", taught)
        runs.append(run(path, failed, [held]))
    everything, undone = between(*runs)
    assert everything.because == "the first run adds nothing to the weights"
    assert (undone.topic, undone.stage) == ("a", "SFT, rolled back")
    wanted = size((1, factors(2)), (-1, factors(1))) / size((1, factors(1)))
    assert undone.relative == pytest.approx(wanted, rel=1e-5)
    (runs[1].path / "topics/a/sft/adapter_model.safetensors").unlink()
    assert len(between(*runs)) == 1  # an adapter that is gone is no distance


def test_a_small_distance_is_not_lost(tmp_path: Path) -> None:
    near = {name: tensor.copy() for name, tensor in factors(1).items()}
    near["layers.0.up.lora_B"][0, 0] += 1e-4
    first, other = made(tmp_path / "h", ("a", factors(1))), made(tmp_path / "t", ("a", near))
    wanted = size((1, near), (-1, factors(1))) / size((1, factors(1)))
    assert between(first, other)[0].relative == pytest.approx(wanted, rel=1e-4)


def test_what_was_rolled_back_or_replaced_does_not_count(tmp_path: Path) -> None:
    path = tmp_path / "t"
    path.mkdir()
    kept = entry(path, "a", "dpo", factors(1), replaces="a:sft")
    entries = [entry(path, "a", "sft", factors(5)), kept]
    entries.append(entry(path, "b", "sft", factors(6), accepted=False))
    other = run(path, MADE, entries)
    first = made(tmp_path / "h", ("a", factors(1)))
    assert between(first, other)[0].relative == pytest.approx(0.0, abs=1e-12)


def test_runs_with_other_topics_in_force_share_only_some(tmp_path: Path) -> None:
    first = made(tmp_path / "h", ("a", factors(1)), ("b", factors(2)))
    other = made(tmp_path / "t", ("a", factors(1)))
    everything, shared = between(first, other)
    assert everything.relative is None
    assert everything.because == "other topics are in force: `a`, `b`, and `a`"
    assert shared.topic == "a"
    assert shared.relative == pytest.approx(0.0, abs=1e-12)


def test_one_adapter_that_carries_all_is_compared_whole(tmp_path: Path) -> None:
    runs = []
    for name, seed in (("h", 1), ("t", 2)):
        path = tmp_path / name
        path.mkdir()
        first = entry(path, "a", tensors=factors(9))
        last = entry(path, "b", tensors=factors(seed), replaces="a:sft")
        runs.append(run(path, MADE, [first, last], handoff="continue"))
    (found,) = between(*runs)
    wanted = size((1, factors(2)), (-1, factors(1))) / size((1, factors(1)))
    assert found.topic == ""
    assert found.relative == pytest.approx(wanted, rel=1e-5)


def test_what_one_adapter_carries_is_compared_with_what_several_do(tmp_path: Path) -> None:
    """Both runs learned both topics: what is added to the weights is one matrix or two."""
    stacked = made(tmp_path / "h", ("a", factors(1)), ("b", factors(2)))
    path = tmp_path / "t"
    path.mkdir()
    first = entry(path, "a", tensors=factors(9))
    last = entry(path, "b", tensors=factors(3), replaces="a:sft")
    (found,) = between(stacked, run(path, MADE, [first, last], handoff="continue"))
    theirs, ours = (1, factors(3)), ((-1, factors(1)), (-1, factors(2)))
    assert found.relative == pytest.approx(size(theirs, *ours) / size(*ours), rel=1e-5)


def test_nothing_in_force_has_no_norm_to_go_by(tmp_path: Path) -> None:
    first, other = made(tmp_path / "h"), made(tmp_path / "t")
    (found,) = between(first, other)
    assert found.relative is None
    assert found.because == "the first run adds nothing to the weights"
    assert Adapters(first).total == 0.0


def test_another_model_has_other_weights(tmp_path: Path) -> None:
    first = made(tmp_path / "h", ("a", factors(1)))
    other = run(tmp_path / "t", result(*MADE.topics, model={"id": "n" * 64}))
    (found,) = between(first, other)
    assert found.because == "they belong to other models"


def test_an_adapter_that_is_not_the_one_written_is_not_believed(tmp_path: Path) -> None:
    first, other = made(tmp_path / "h", ("a", factors(1))), made(tmp_path / "t", ("a", factors(1)))
    file = other.path / "topics/a/sft/adapter_model.safetensors"
    file.write_bytes(file.read_bytes()[:-1] + b"\x00")
    (found,) = between(first, other)
    assert found.relative is None
    assert found.because == "`t`: an adapter is not the one that was written"
    assert Adapters(other).total is None

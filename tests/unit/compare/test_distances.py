"""Distances of adapters, against the full matrices in float64."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from backends.contract import AdapterSpec, Params
from backends.errors import AdapterError
from backends.model_files import model_id
from mindprint.compare.distances import Adapters, distances
from mindprint.compare.model import Distance
from mindprint.compare.run import Run
from mindprint.compare.weights import rows_of_run
from mindprint.errors import ConfigError
from mindprint.stage_folder import write_stage
from tests import kinds
from tests.unit.compare.ground import began, entry, factors, result, run, stage, topic

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


RNG = np.random.default_rng(50)
W0 = {
    "layers.0.up": RNG.standard_normal((6, 4)).astype(np.float32),
    "layers.0.down": RNG.standard_normal((4, 6)).astype(np.float32),
}
DORA: dict[str, Any] = {"kind": "dora"}
BENT: dict[str, Any] = {"kind": "lslora", "spline": kinds.BENT}


def drawn(seed: int, **kind: Any) -> Params:
    return kinds.drawn(W0, AdapterSpec(rank=2, alpha=4.0, **kind), seed, size=0.3)[1]


def of_kinds(path: Path, *adapters: tuple[str, Params, dict[str, Any]]) -> Run:
    path.mkdir()
    made = [entry(path, name, tensors=held, kind=kind) for name, held, kind in adapters]
    return run(path, MADE, made)


def weights(*adapters: tuple[Params, dict[str, Any]]) -> list[np.ndarray]:
    held = [(AdapterSpec(rank=2, alpha=4.0, **kind), tensors) for tensors, kind in adapters]
    return [kinds.dense(path, w0, held) for path, w0 in W0.items()]


def far(one: list[np.ndarray], other: list[np.ndarray]) -> float:
    return float(sum(np.square(a - b).sum() for a, b in zip(one, other, strict=True)) ** 0.5)


@pytest.fixture
def files(monkeypatch: pytest.MonkeyPatch) -> None:
    """The weights, as the model's files would give them."""
    monkeypatch.setattr("mindprint.compare.distances.rows_of_run", lambda _: kinds.rows(W0))


def test_what_a_dora_adds_goes_by_the_weights_and_what_is_below(
    tmp_path: Path, files: None
) -> None:
    a, b, c, d = (drawn(seed, **DORA) for seed in (1, 2, 3, 4))
    first = of_kinds(tmp_path / "h", ("a", a, DORA), ("b", b, DORA))
    other = of_kinds(tmp_path / "t", ("a", c, DORA), ("b", d, DORA))
    found = {one.topic: one.relative for one in between(first, other)}
    bare = list(W0.values())
    ours, theirs = weights((a, DORA), (b, DORA)), weights((c, DORA), (d, DORA))
    assert Adapters(first).total == pytest.approx(far(ours, bare), rel=1e-5)
    assert found[""] == pytest.approx(far(ours, theirs) / far(ours, bare), rel=1e-5)
    one, two = weights((a, DORA)), weights((c, DORA))
    assert found["a"] == pytest.approx(far(one, two) / far(one, bare), rel=1e-5)
    added = [x - y for x, y in zip(ours, one, strict=True)]
    their = [x - y for x, y in zip(theirs, two, strict=True)]
    none = [np.zeros_like(x) for x in added]
    assert found["b"] == pytest.approx(far(added, their) / far(added, none), rel=1e-5)
    (tmp_path / "u").mkdir()
    same = of_kinds(tmp_path / "u" / "s", ("a", a, DORA), ("b", b, DORA))
    assert all(one.relative == pytest.approx(0.0, abs=1e-12) for one in between(first, same))


def test_a_dora_that_was_rolled_back_is_compared_over_what_was_below_it(
    tmp_path: Path, files: None
) -> None:
    below, mine, theirs = factors(7), drawn(1, **DORA), drawn(2, **DORA)
    taught = stage("sft", [2.0, 1.0], accepted=False)
    failed = result(topic("a", stage("sft", [1.0])), topic("b", taught, status="failed"))
    made_of = []
    for name, held in (("h", mine), ("t", theirs)):
        path = tmp_path / name
        path.mkdir()
        kept = entry(path, "a", tensors=below)
        lost = entry(path, "b", tensors=held, kind=DORA, accepted=False)
        write_stage(path / "topics/b/sft", taught)
        made_of.append(run(path, failed, [kept, lost]))
    undone = next(one for one in between(*made_of) if one.topic == "b")
    assert undone.stage == "SFT, rolled back"
    stood = weights((below, {}))
    ours, other = weights((below, {}), (mine, DORA)), weights((below, {}), (theirs, DORA))
    assert undone.relative == pytest.approx(far(ours, other) / far(ours, stood), rel=1e-5)


def test_dpo_of_its_own_dora_is_compared_over_its_topics_sft(tmp_path: Path, files: None) -> None:
    """Of the same attempt, whatever became of it: the model that its magnitudes were taken of."""
    pairs = [(drawn(1, **DORA), drawn(2, **DORA)), (drawn(3, **DORA), drawn(4, **DORA))]
    stages = [stage(name, [2.0], accepted=False, attempt=1) for name in ("sft", "dpo")]
    failed = result(topic("a", *stages, status="failed"), config={"dpo.adapter": "new"})
    made_of = []
    for run_name, pair in zip("ht", pairs, strict=True):
        path = tmp_path / run_name
        path.mkdir()
        for record, held in zip(stages, pair, strict=True):
            entry(path, "a", record.name, held, DORA)
            again = path / f"topics/a/{record.name}-2"
            write_stage((path / "topics/a" / record.name).rename(again), record)
        made_of.append(run(path, failed))
    undone = next(one for one in between(*made_of) if one.topic == "a")
    assert undone.stage == "DPO, attempt 2, rolled back"
    both = [weights((sft, DORA), (dpo, DORA)) for sft, dpo in pairs]
    below = [weights((sft, DORA)) for sft, _ in pairs]
    added = [[x - y for x, y in zip(*one, strict=True)] for one in zip(both, below, strict=True)]
    none = [np.zeros_like(one) for one in added[0]]
    assert undone.relative == pytest.approx(far(*added) / far(added[0], none), rel=1e-5)
    (made_of[1].path / "topics/a/sft-2/adapter_model.safetensors").unlink()
    assert all(one.topic != "a" for one in between(*made_of))  # without it nothing is told


def test_without_the_weights_a_dora_is_not_told_and_a_lora_is(tmp_path: Path) -> None:
    a = drawn(1, **DORA)
    first, other = (
        of_kinds(tmp_path / "h", ("a", a, DORA)),
        of_kinds(tmp_path / "t", ("a", drawn(2, **DORA), DORA)),
    )
    found = between(first, other)
    assert [one.relative for one in found] == [None, None]
    assert "what a DoRA adds goes by the base's weights" in found[0].because
    told = Adapters(first)
    assert told.total is None and "how much `h` adds to the weights is not told" in told.notes[0]


def test_the_splines_of_an_ls_lora_are_told_apart_from_its_factors(tmp_path: Path) -> None:
    """With the identity for phi its branch is s_out s_in factor B A."""
    a, b = drawn(1, **BENT), drawn(2, **BENT)
    first, other = (
        of_kinds(tmp_path / "h", ("a", a, BENT)),
        of_kinds(tmp_path / "t", ("a", b, BENT)),
    )
    everything, shared, splines = between(first, other)
    scales = 1.1 * 0.8
    wanted = size((scales, b), (-scales, a)) / size((scales, a))
    assert everything.relative == pytest.approx(wanted, rel=1e-5) == shared.relative
    assert splines.topic == "a" and splines.stage == "values and scales of its splines"

    def moved(held: Params) -> np.ndarray:
        found = [
            np.concatenate(
                [held[f"{path}.lora_spline_values"] - np.linspace(-3, 3, 5), [0.1, -0.2]]
            )
            for path in W0
        ]
        return np.concatenate(found)

    apart = np.linalg.norm(moved(b) - moved(a)) / np.linalg.norm(moved(a))
    assert splines.relative == pytest.approx(float(apart), rel=1e-4)
    assert splines.bound is None
    assert "no weights can hold" in Adapters(first).notes[0]
    plain = made(tmp_path / "p", ("a", factors(3)))
    assert between(first, plain)[-1].because == "their splines are not of one form"


@pytest.mark.parametrize(
    ("other", "alike"),
    [
        ({"outside": "clamp"}, False),
        ({"interpolation": "soft"}, False),
        ({"low": -6.0, "high": 6.0}, False),
        ({"penalty": 0.5, "rate": 3.0}, True),
    ],
)
def test_splines_are_compared_where_they_are_of_one_form(
    tmp_path: Path, other: dict[str, Any], alike: bool
) -> None:
    """As many numbers are not yet the same function; how they were trained is no part of it."""
    spline = replace(kinds.BENT, **other)
    kind = {**BENT, "spline": spline}
    first = of_kinds(tmp_path / "h", ("a", drawn(1, **BENT), BENT))
    found = between(first, of_kinds(tmp_path / "t", ("a", drawn(2, **kind), kind)))[-1]
    assert found.stage == "values and scales of its splines"
    assert found.because == ("" if alike else "their splines are not of one form")
    assert (found.relative is not None) == alike


def test_the_weights_are_those_of_the_model_that_was_trained(tmp_path: Path) -> None:
    base = tmp_path / "base"
    base.mkdir()
    save_file({f"{path}.weight": w0 for path, w0 in W0.items()}, base / "model.safetensors")
    (base / "config.json").write_text('{"model_type": "llama"}')
    path = tmp_path / "r"
    path.mkdir()
    began(path, model=str(base))
    held = run(path, MADE, [])
    with pytest.raises(ConfigError, match="is another than the run's"):
        rows_of_run(held)
    assert held.ledger is not None
    own = replace(held, ledger=held.ledger.model_copy(update={"model_id": model_id(base)}))
    found = np.concatenate(list(rows_of_run(own)("layers.0.up")))
    assert np.array_equal(found, W0["layers.0.up"])
    with pytest.raises(AdapterError, match=r"no weight of `layers.0.gate`"):
        list(rows_of_run(own)("layers.0.gate"))
    packed = {"model_type": "llama", "quantization": {"bits": 4, "group_size": 64}}
    (base / "config.json").write_text(json.dumps(packed))
    own = replace(held, ledger=held.ledger.model_copy(update={"model_id": model_id(base)}))
    with pytest.raises(ConfigError, match="which are quantized"):
        rows_of_run(own)
    shutil.rmtree(base)
    with pytest.raises(ConfigError, match="which are not at"):
        rows_of_run(own)
    with pytest.raises(ConfigError, match="is not known"):
        rows_of_run(replace(own, inputs=None))

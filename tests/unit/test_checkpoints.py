"""Step checkpoints: numbered, vouched for, fallen back from aloud, refused if of other tensors."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from backends.contract import Arrays, Params
from mindprint import checkpoints
from mindprint.checkpoints import Checkpoint, Checkpoints, Held, Progress, check_fits
from mindprint.disk import room
from mindprint.disk.room import NoRoom
from mindprint.disk.sealed import file_hash, read_json, write_json
from mindprint.errors import StageError
from mindprint.rundir import RunDir


def adapter(value: float) -> Params:
    return {"l.lora_A": np.full((2, 3), value, np.float32), "l.lora_B": np.ones((3, 2), np.float32)}


def optimizer(step: int) -> Arrays:
    moments: Arrays = {f"m.{name}": array for name, array in adapter(step).items()}
    return {"step": np.array(step), "rng": np.arange(4, dtype=np.uint8), **moments}


def progress(step: int) -> Progress:
    curve = [(place, 1 / (place + 2)) for place in range(1, step + 1)]
    return Progress(step, step, curve=curve, watched=(-0.1, 1 / 3), rate=0.5, faults=2)


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    return RunDir.create(tmp_path / "run")


def of(run: RunDir, stage: str = "sft") -> Checkpoints:
    return Checkpoints(run, "unit/topic", stage, 0)


def save(store: Checkpoints, step: int, *, regular: bool = True) -> None:
    held = Held(good=adapter(step), best=adapter(-step))
    assert store.save(progress(step), adapter(step), optimizer(step), held, regular=regular) == ""


def latest(store: Checkpoints, **kind: bool) -> tuple[Checkpoint | None, list[str]]:
    said: list[str] = []
    return store.latest(said.append, **kind), said


def names(run: RunDir) -> list[str]:
    return sorted(path.name for path in run.checkpoints.iterdir())


def test_what_is_saved_comes_back_to_the_last_bit(run: RunDir) -> None:
    save(of(run), 5)
    found, said = latest(of(run))
    assert found is not None and not said
    assert found.progress == progress(5)
    assert found.optimizer["step"].shape == ()
    for one, other in (
        (found.adapter, adapter(5)),
        (found.optimizer, optimizer(5)),
        (found.held.good, adapter(5)),
        (found.held.best, adapter(-5)),
    ):
        assert one is not None and one.keys() == other.keys()
        assert all(one[name].tobytes() == other[name].tobytes() for name in other)
        assert all(one[name].dtype == other[name].dtype for name in other)


def test_none_is_ever_overwritten_and_the_newest_two_stay(run: RunDir) -> None:
    for step in (100, 200, 200, 300):
        save(of(run), step)
    assert names(run) == ["000003-step-000200", "000004-step-000300"]
    save(of(run), 100)  # a set-back: an earlier step, and yet the newest
    assert names(run) == ["000004-step-000300", "000005-step-000100"]
    found, _ = latest(of(run))
    assert found is not None and found.progress.step == 100


def test_stops_do_not_push_out_the_last_regular_one(run: RunDir) -> None:
    """A set-back goes to where it would have gone had nobody stopped the run."""
    save(of(run), 4)
    for step in (5, 6, 7):
        save(of(run), step, regular=False)
    assert names(run) == ["000001-step-000004", "000003-step-000006", "000004-step-000007"]
    found, _ = latest(of(run), regular=True)
    assert found is not None and found.progress.step == 4


def test_leftovers_of_other_stages_are_passed_over_and_removed(run: RunDir) -> None:
    save(of(run, "sft"), 9)
    assert latest(of(run, "dpo")) == (None, [])
    save(of(run, "dpo"), 1)
    assert names(run) == ["000002-step-000001"]


def test_a_finished_stage_clears_its_own_alone(run: RunDir) -> None:
    """A run that goes on in DPO passes through its finished SFT first."""
    save(of(run, "dpo"), 4)
    of(run, "sft").clear_own()
    assert names(run) == ["000001-step-000004"]
    of(run, "dpo").clear_own()
    assert names(run) == []


def zeroed(path: Path) -> None:
    path.write_bytes(b"")


def halved(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flipped(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    path.write_bytes(content)


DAMAGE: tuple[Callable[[Path], None], ...] = (zeroed, halved, flipped, Path.unlink)


@pytest.mark.parametrize("file", ["state.json", "arrays.safetensors"])
@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_newest_falls_back_aloud(
    run: RunDir, file: str, damage: Callable[[Path], None]
) -> None:
    save(of(run), 100)
    save(of(run), 200)
    damage(run.checkpoints / "000002-step-000200" / file)
    found, said = latest(of(run))
    assert found is not None and found.progress.step == 100
    assert found.adapter["l.lora_A"][0, 0] == 100
    assert len(said) == 1 and said[0].startswith("the checkpoint of step 200 is damaged (`" + file)
    assert said[0].endswith("): going on from step 100")
    save(of(run), 200)  # neither stopped nor overwritten by the damaged one
    found, said = latest(of(run))
    assert found is not None and found.progress.step == 200 and not said


def test_with_all_damaged_the_stage_begins_anew_aloud(run: RunDir) -> None:
    for step in (100, 200):
        save(of(run), step)
    for folder in run.checkpoints.iterdir():
        flipped(folder / "arrays.safetensors")
    found, said = latest(of(run))
    assert found is None
    assert said[0].startswith("the checkpoint of step 200 is damaged (")
    assert "), and the one of step 100 is damaged (" in said[0]
    assert said[0].endswith("): the stage begins anew")


def test_numbers_of_another_version_are_damage_not_a_guess(run: RunDir) -> None:
    save(of(run), 7)
    where = run.checkpoints / "000001-step-000007" / "state.json"
    tree = read_json(where)
    del tree["progress"]["rate"]
    write_json(where, tree)
    found, said = latest(of(run))
    assert found is None and "it is no state of a stage" in said[0]


def meddled(run: RunDir, change: Callable[[dict[str, np.ndarray]], None]) -> Path:
    """The one checkpoint with other tensors, vouched for as if it had been written so."""
    (folder,) = run.checkpoints.iterdir()
    arrays = load_file(folder / "arrays.safetensors")
    change(arrays)
    save_file(arrays, folder / "arrays.safetensors")
    tree = read_json(folder / "state.json")
    tree["files"]["arrays.safetensors"] = file_hash(folder / "arrays.safetensors")
    write_json(folder / "state.json", tree)
    return folder / "arrays.safetensors"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda a: a.pop("adapter/l.lora_B"), "1 missing: `adapter/l.lora_B`"),
        (lambda a: a.pop("optimizer/rng"), "1 missing: `optimizer/rng`"),
        (lambda a: a.pop("good/l.lora_A"), "1 missing: `good/l.lora_A`"),
        (lambda a: a.update({"adapter/x": a["adapter/l.lora_A"]}), "1 extra: `adapter/x`"),
        (lambda a: a.update({"optimizer/m.x": a["optimizer/rng"]}), "1 extra: `optimizer/m.x`"),
        (
            lambda a: a.update({"adapter/l.lora_A": a["adapter/l.lora_A"].T.copy()}),
            "1 of another shape: `adapter/l.lora_A`",
        ),
    ],
)
def test_a_checkpoint_of_other_tensors_is_refused_by_name(
    run: RunDir, change: Callable[[dict[str, np.ndarray]], None], said: str
) -> None:
    save(of(run), 3)
    shapes = {name: array.shape for name, array in adapter(0).items()}
    found, _ = latest(of(run))
    assert found is not None
    check_fits(found, shapes, optimizer(0))  # as it was written, it fits
    where = meddled(run, change)
    found, notes = latest(of(run))
    assert found is not None and not notes
    with pytest.raises(StageError) as caught:
        check_fits(found, shapes, optimizer(0))
    assert said in caught.value.what
    assert caught.value.where == str(where)


@pytest.mark.parametrize("group", ["adapter", "optimizer"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_values_that_are_not_finite_are_never_saved(run: RunDir, group: str, value: float) -> None:
    save(of(run), 3)
    tensors, moments = adapter(4), optimizer(4)
    odd = {"adapter": tensors["l.lora_A"], "optimizer": moments["m.l.lora_A"]}[group]
    odd[1, 1] = value
    named = of(run).save(progress(4), tensors, moments, Held(adapter(1)), regular=True)
    assert named.startswith(f"{group}/")
    assert names(run) == ["000001-step-000003"]


def test_room_is_asked_for_before_a_byte_is_written(
    run: RunDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(of(run), 3)
    real = shutil.disk_usage(run.path)
    monkeypatch.setattr(room.shutil, "disk_usage", lambda _: real._replace(free=room.SPARE + 100))
    with pytest.raises(NoRoom):
        save(of(run), 4)
    assert names(run) == ["000001-step-000003"]


def test_a_disk_that_fills_up_leaves_the_last_one_whole(
    run: RunDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(of(run), 3)

    def full(tensors: object, where: Path) -> None:
        where.write_bytes(b"half of it")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(checkpoints, "save_file", full)
    with pytest.raises(NoRoom):
        save(of(run), 4)
    assert names(run) == ["000001-step-000003"]
    found, said = latest(of(run))
    assert found is not None and found.progress == progress(3) and not said


def test_the_numbers_on_disk_are_all_of_them(run: RunDir) -> None:
    """A field that were not saved would begin at its default after a resume."""
    save(of(run), 2)
    tree = read_json(run.checkpoints / "000001-step-000002" / "state.json")
    assert tree["progress"].keys() == asdict(Progress()).keys()

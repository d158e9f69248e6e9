"""What a run takes on the disk, and what happens where the disk cannot hold it."""

from __future__ import annotations

import json
from collections import namedtuple
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from backends.contract import AdapterSpec
from backends.errors import AdapterError, ModelError
from mindprint import rundir
from mindprint.config import resolve
from mindprint.errors import ConfigError
from mindprint.footprint import STATE, Footprint, adapter_bytes, footprint, read_sizes
from mindprint.plan import PlannedStage
from mindprint.rundir import check_place

Usage = namedtuple("Usage", "total used free")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two layers of 300 x 200, an embedding, a norm; no model that any library knows."""
    layer = np.zeros((300, 200), dtype=np.float16)
    tensors = {f"model.layers.{n}.proj.weight": layer for n in range(2)}
    tensors["model.embed_tokens.weight"] = np.zeros((50, 200), dtype=np.float16)
    tensors["model.norm.weight"] = np.zeros(200, dtype=np.float16)
    save_file(tensors, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "nothing-known"}))
    return tmp_path


def stage(
    name: str = "sft", steps: int = 10, *, certain: bool = True, held: int = 0
) -> PlannedStage:
    return PlannedStage("t", name, 4, held, 0, 100, 1, steps, certain)  # type: ignore[arg-type]


def planned(folder: Path, *stages: PlannedStage, settings: tuple[str, ...] = ()) -> Footprint:
    config = resolve(None, ["gate.retries=0", *settings], model__path=str(folder)).config
    return footprint(read_sizes(folder), config, stages, 0)


def test_sizes_are_read_off_the_header(folder: Path) -> None:
    sizes = read_sizes(folder)
    assert sizes.parameters == 2 * 300 * 200 + 50 * 200 + 200
    assert set(sizes.linears.values()) == {(300, 200)}
    assert adapter_bytes(sizes, AdapterSpec(rank=8)) == pytest.approx(2 * 8 * 500 * 4, rel=0.02)
    with pytest.raises(AdapterError, match="no layer matches"):
        adapter_bytes(sizes, AdapterSpec(rank=8, targets=("q_proj",)))


def test_a_cut_file_is_refused(folder: Path) -> None:
    file = folder / "model.safetensors"
    whole = file.read_bytes()
    for kept in (0, 7, 100, len(whole) - 1):
        file.write_bytes(whole[:kept])
        with pytest.raises(ModelError, match="cannot read the weights") as caught:
            read_sizes(folder)
        assert caught.value.where == str(file)


@pytest.mark.parametrize("spoilt", [None, 0, 59_999])
def test_a_stored_head_is_compared_to_its_last_byte(folder: Path, spoilt: int | None) -> None:
    (folder / "config.json").write_text(json.dumps({"model_type": "x", "tie_word_embeddings": 1}))
    embedding = np.arange(300 * 200, dtype=np.float16).reshape(300, 200)
    head = embedding.copy()
    if spoilt is not None:
        head.flat[spoilt] = -1
    tensors = {"model.embed_tokens.weight": embedding, "lm_head.weight": head}
    save_file(tensors, folder / "model.safetensors")
    assert read_sizes(folder).parameters == embedding.size * (1 if spoilt is None else 2)


def test_checkpoints_are_counted_while_they_are_there(folder: Path) -> None:
    without = planned(folder, stage(steps=10))
    adapter = without.adapter
    one = planned(folder, stage(steps=10), settings=("run.checkpoint_every=10",))
    assert one.sure - without.sure == (STATE - 1) * adapter
    # Two stay, a third is being written; a held-out set keeps the best epoch too.
    three = planned(folder, stage(steps=10, held=2), settings=("run.checkpoint_every=1",))
    assert three.sure - without.sure == 3 * STATE * adapter
    # The first stage's are gone before the second's come.
    both = planned(folder, *[stage(steps=10)] * 2, settings=("run.checkpoint_every=10",))
    assert both.sure - one.sure == pytest.approx(adapter, rel=0.2)


def test_what_may_come_is_no_part_of_what_is_sure(folder: Path) -> None:
    sure = planned(folder, stage())
    maybe = planned(folder, stage(), stage("dpo", certain=False), settings=("gate.retries=1",))
    assert maybe.sure == sure.sure
    assert maybe.most >= 4 * maybe.adapter


def test_dpos_own_adapter_has_its_own_size(folder: Path) -> None:
    found = planned(
        folder, stage(), stage("dpo"), settings=("dpo.adapter=new", "dpo.rank=1", "adapter.rank=8")
    )
    assert found.adapter > 4 * found.dpo_adapter > 0


@pytest.mark.parametrize(("kind", "more"), [("dora", 300), ("lslora", 9 + 2)])
def test_each_kind_has_the_tensors_that_it_trains(folder: Path, kind: str, more: int) -> None:
    """Beside the factors: a magnitude for each output, or knots and two scales, on both layers."""
    plain = planned(folder, stage())
    settings = (f"adapter.kind={kind}", *(("adapter.knots=9",) if kind == "lslora" else ()))
    found = planned(folder, stage(), settings=settings)
    header = 2 * 2 * 130  # what it says of two tensors, or one, on each of two layers
    assert 0 < found.adapter - plain.adapter - 2 * 4 * more <= header
    assert found.sure > plain.sure and found.kind and not plain.kind


def test_a_past_of_others_is_counted_with_its_branches(folder: Path) -> None:
    plain = planned(folder, stage())
    found = plain.with_past(1000, branches=2)
    assert (found.past, found.branches, found.sure - plain.sure) == (1000, 2, 1000)


def test_a_disk_that_cannot_hold_it_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rundir.shutil, "disk_usage", lambda _: Usage(10**9, 0, 20_000_000))
    check_place(tmp_path / "run", 19_000_000)
    with pytest.raises(ConfigError, match=r"250\.0 MB wanted, 20\.0 MB free") as caught:
        check_place(tmp_path / "run", 250_000_000)
    assert "free some space" in caught.value.hint
    assert not (tmp_path / "run").exists()

"""What a model was asked before is found again bit for bit, and never for another model."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from backends.contract import AdapterSpec, GenerateSpec, Session
from mindprint import hardware
from mindprint.cache import Cache
from mindprint.remembering import Remembering
from mindprint.tokens.batches import pad
from mindprint.tokens.render import Row
from tests.conformance.conftest import ModelFolder, OpenSession

PROMPTS = ([5, 6, 7], [8, 9])
SPEC = GenerateSpec(4, (2,))


@pytest.fixture
def opened(open_session: OpenSession, model_of: ModelFolder, backend: str) -> Session:
    return open_session(backend, model_of("llama"))


@pytest.fixture(autouse=True)
def machine(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """Read afresh, and not left behind as a test had it."""
    hardware.computes_on.cache_clear()
    yield monkeypatch
    hardware.computes_on.cache_clear()


class Desk:
    """Asks a session through the cache in `folder`, and counts what it computes."""

    def __init__(
        self, session: Session, folder: Path, *, versions: dict[str, str], backend: str = "torch"
    ) -> None:
        self.computed = self.snapshots = 0
        self.told: list[str] = []
        counted = _Counted(session, self)
        cache = Cache(folder)
        self.memory = Remembering(counted, cache, backend, versions, self.told.append)

    def ask(self, temperature: float = 0.0) -> tuple[Any, bytes]:
        rows = [Row((*p, 4, 3), (False,) * len(p) + (True, True), False) for p in PROMPTS]
        with self.memory.kept("the answers"):
            spec = GenerateSpec(4, (2,), temperature=temperature)
            said = self.memory.generate(PROMPTS, spec)
            return said, self.memory.logprobs(pad(rows)).rows.tobytes()


class _Counted:
    def __init__(self, session: Session, desk: Desk) -> None:
        self._session, self._desk = session, desk

    def __getattr__(self, name: str) -> Any:
        if name == "adapters":
            self._desk.snapshots += 1  # which is all that is asked of them here
        if name in ("generate", "logprobs"):
            self._desk.computed += 1
        return getattr(self._session, name)


def test_asked_twice_computed_once(opened: Session, tmp_path: Path) -> None:
    first = Desk(opened, tmp_path, versions={"a": "1"})
    plain = first.ask()
    assert first.computed == 2 and not first.told
    assert first.snapshots == 1  # each copies every adapter
    again = Desk(opened, tmp_path, versions={"a": "1"})
    assert again.ask() == plain
    assert again.computed == 0
    assert again.told == ["cache: the answers found again (all of 2 passes), not computed"]
    assert again.ask(temperature=0.5)[1] == plain[1]
    assert again.computed == 1  # the answers drawn otherwise, the log-probabilities found


def test_another_model_is_computed(opened: Session, tmp_path: Path) -> None:
    Desk(opened, tmp_path, versions={}).ask()
    others = Desk(opened, tmp_path, versions={"torch": "9"})
    others.ask()
    assert others.computed == 2
    opened.adapters.add(AdapterSpec(rank=2, seed=1), "own")
    fresh = Desk(opened, tmp_path, versions={})
    before = fresh.ask()
    assert fresh.computed == 2
    learner_values = opened.adapters.parameters()
    _assign(opened, {name: value + np.float32(0.05) for name, value in learner_values.items()})
    moved = Desk(opened, tmp_path, versions={})
    assert moved.ask()[1] != before[1]
    assert moved.computed == 2


def test_another_machine_and_other_switches_are_computed(
    opened: Session, backend: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def computed() -> int:
        desk = Desk(opened, tmp_path / "cache", versions={}, backend=backend)
        desk.ask()
        return desk.computed

    assert (computed(), computed()) == (2, 0)
    own = {"torch": "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE", "mlx": "MLX_ENABLE_TF32"}[backend]
    named = ("MKL_CBWR", "OPENBLAS_CORETYPE", "NVIDIA_TF32_OVERRIDE", "CUBLAS_WORKSPACE_CONFIG")
    for name in (*named, own):
        with monkeypatch.context() as changed:
            changed.setenv(name, "other")
            assert computed() == 2, name
    with monkeypatch.context() as changed:
        changed.setenv("EDITOR", "other")  # says nothing to them
        assert computed() == 0
    told = "model name : A chip\nflags : avx2\n"
    for text in (told, told.replace("avx2", "avx2 avx512f"), told.replace("A chip", "B chip")):
        (tmp_path / "cpuinfo").write_text(text)
        monkeypatch.setattr(hardware, "CPU_INFO", tmp_path / "cpuinfo")
        hardware.computes_on.cache_clear()
        assert (computed(), computed()) == (2, 0), text
    (tmp_path / "driver").write_text("550.54")
    monkeypatch.setattr(hardware, "GPU_DRIVER", tmp_path / "driver")
    hardware.computes_on.cache_clear()
    assert computed() == 2
    monkeypatch.setattr(opened, "info", replace(opened.info, chip="another GPU"))
    assert computed() == 2


def test_a_damaged_entry_is_computed_again(opened: Session, tmp_path: Path) -> None:
    plain = Desk(opened, tmp_path, versions={}).ask()
    (entry,) = tmp_path.glob("*.json")
    entry.write_bytes(entry.read_bytes()[:-40])
    desk = Desk(opened, tmp_path, versions={})
    assert desk.ask() == plain
    assert desk.computed == 2
    assert "not as it was written" in desk.told[0] and "computed again" in desk.told[0]
    later = Desk(opened, tmp_path, versions={})
    assert later.ask() == plain and later.computed == 0


def test_without_room_the_run_goes_on(opened: Session, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    desk = Desk(opened, tmp_path / "file", versions={})
    desk.ask()
    desk.ask(0.5)
    assert len(desk.told) == 1 and "nothing is kept for other runs" in desk.told[0]


def test_after_a_merge_nothing_is_kept(opened: Session, tmp_path: Path) -> None:
    opened.adapters.add(AdapterSpec(rank=2, seed=1), "own")
    opened.adapters.freeze("own")
    opened.adapters.merge_and_unload()
    Desk(opened, tmp_path, versions={}).ask()
    assert not list(tmp_path.glob("*.json"))


def _assign(session: Session, values: dict[str, Any]) -> None:
    from backends.contract import Objective, OptimizerSpec

    session.learner(Objective("sft"), OptimizerSpec()).assign(values)

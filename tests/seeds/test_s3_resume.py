"""S3: going on that trained nothing, on another schedule, or without a part of what was trained."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from backends.contract import Batch, Learner, StepStats, Window
from mindprint import stages
from mindprint.disk.sealed import file_hash, read_json, write_json
from mindprint.errors import Interrupted, StageError
from mindprint.events import Event
from mindprint.strategies.sequential import Sequential
from tests.runs import Made, curriculum, make_run, tree_bytes

# Nine rows, one in a batch, three batches in a window: steps 2, 4, 5, 7 and 8 are mid-epoch.
WINDOWS = (
    "sft.epochs=3",
    "sft.batch_size=1",
    "sft.accumulate=3",
    "run.checkpoint_every=2",
    "dpo.when=never",
    "gate.rollback=false",
)


class PowerCut(BaseException):
    """Ends a run where it stands, as a kill does: nothing can catch it and save."""


def trained(
    path: Path,
    model: Path,
    backend: str,
    stop: Callable[[], bool] = lambda: False,
    listen: Callable[[Event, Any], None] | None = None,
) -> Made:
    teach = curriculum(1, rows=9)
    return make_run(path, model, backend, *WINDOWS, teach=teach, stop=stop, listen=listen)


def stopped_after(step: int, path: Path, model: Path, backend: str) -> None:
    seen: list[int] = []

    def listen(event: Event, session: Any) -> None:
        if event.kind == "step":
            seen.append(int(event.data["step"]))

    with pytest.raises(Interrupted):
        trained(path, model, backend, lambda: step in seen, listen)


def newest_checkpoint(run: Path) -> Path:
    return max(run.joinpath("checkpoints").iterdir(), key=lambda folder: folder.name)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, model: Path) -> Callable[[str], Made]:
    """The run that nothing befell, once a backend."""
    made: dict[str, Made] = {}

    def run(backend: str) -> Made:
        if backend not in made:
            made[backend] = trained(tmp_path_factory.mktemp(backend) / "run", model, backend)
        return made[backend]

    return run


def curve(made: Made) -> tuple[tuple[int, float], ...]:
    assert made.result is not None
    return made.result.topics[0].stages[0].curve


def test_going_on_in_the_middle_of_an_epoch_is_bit_for_bit_the_same(
    tmp_path: Path, backend: str, model: Path, undisturbed: Callable[[str], Made]
) -> None:
    whole = undisturbed(backend)
    stopped_after(4, tmp_path / "run", model, backend)
    later = trained(tmp_path / "run", model, backend)
    assert "going on from step 4" in later.notices()
    assert tree_bytes(later.path) == tree_bytes(whole.path)
    assert curve(later) == curve(whole)
    assert [step for step, _ in curve(later)] == list(range(1, 10))


def test_a_window_that_was_cut_short_is_done_again_whole(
    tmp_path: Path,
    backend: str,
    model: Path,
    undisturbed: Callable[[str], Made],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Killed after two of the three batches of step 6: from the checkpoint of step 4."""
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
        if len(windows) == 6:
            for batch in batches[:2]:
                learner.accumulate(batch, window)
            raise PowerCut
        return real(self, learner, batches, window, learning_rate, max_grad_norm)

    with monkeypatch.context() as patched, pytest.raises(PowerCut):
        patched.setattr(Sequential, "step", cut)
        trained(tmp_path / "run", model, backend)
    assert windows == [3] * 6
    later = trained(tmp_path / "run", model, backend)
    assert "going on from step 4" in later.notices()
    assert tree_bytes(later.path) == tree_bytes(undisturbed(backend).path)


def test_a_window_that_never_fills_after_going_on_is_seen(
    tmp_path: Path, backend: str, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`(batch + 1) % accumulate` never hit after the resume: gradients, and no optimizer step."""

    def never_steps(
        self: Sequential,
        learner: Learner,
        batches: Sequence[Batch],
        window: Window,
        learning_rate: float,
        max_grad_norm: float,
    ) -> tuple[list[StepStats], float]:
        stats = [learner.accumulate(batch, window) for batch in batches]
        learner.discard()
        return stats, 1.0

    stopped_after(4, tmp_path / "run", model, backend)
    monkeypatch.setattr(Sequential, "step", never_steps)
    with pytest.raises(StageError, match="changed no adapter tensor"):
        trained(tmp_path / "run", model, backend)


def test_a_schedule_over_other_steps_than_the_plans_is_refused(
    tmp_path: Path, backend: str, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Total steps were computed twice, differently: here the loop's epochs are not the plan's."""
    real = stages.sft_batches
    monkeypatch.setattr(
        stages, "sft_batches", lambda *args, **kwargs: replace(real(*args, **kwargs), epochs=4)
    )
    with pytest.raises(StageError) as caught:
        trained(tmp_path / "run", model, backend)
    # Three steps an epoch, and three epochs in the plan.
    assert "12 steps" in caught.value.what and "9 were planned" in caught.value.what


@pytest.mark.parametrize("change", ["lacks", "adds", "reshapes"])
def test_a_checkpoint_of_other_tensors_is_refused(
    tmp_path: Path, backend: str, model: Path, change: str
) -> None:
    """The projection head was lost when the wrapper was made anew, and nobody was told."""
    stopped_after(4, tmp_path / "run", model, backend)
    folder = newest_checkpoint(tmp_path / "run")
    file = folder / "arrays.safetensors"
    arrays = load_file(file)
    name = next(name for name in arrays if name.startswith("adapter/"))
    if change == "lacks":
        del arrays[name]
    elif change == "adds":
        name = "adapter/projection.weight"
        arrays[name] = np.ones((2, 2), dtype=np.float32)
    else:
        arrays[name] = np.ones((1, 1), dtype=np.float32)
    save_file(arrays, file)
    state = read_json(folder / "state.json")
    write_json(folder / "state.json", {**state, "files": {file.name: file_hash(file)}})
    with pytest.raises(StageError) as caught:
        trained(tmp_path / "run", model, backend)
    assert f"`{name}`" in caught.value.what
    assert {"lacks": "missing", "adds": "extra", "reshapes": "shape"}[change] in caught.value.what
    assert str(file) in caught.value.where

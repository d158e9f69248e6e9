"""Compilation off on the CPU, and running out of room told from other faults."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from backends.contract import AdapterSpec, GenerateSpec, ModelSpec, Objective, OptimizerSpec
from backends.errors import BackendError, OutOfMemory
from backends.mlx import learner as module
from backends.mlx import model
from backends.mlx.device import room_for
from backends.mlx.framework import mx
from backends.mlx.learner import MlxLearner
from backends.mlx.session import MlxSession
from tests.tiny import make_model, random_batch, window_of


@pytest.mark.parametrize(
    "text",
    [
        "[metal::malloc] Attempting to allocate 9663676416 bytes which is greater than the maximum",
        "[METAL] Command buffer execution failed: Insufficient Memory (0000008:"
        "kIOGPUCommandBufferCallbackErrorOutOfMemory)",
        "[malloc_or_wait] Unable to allocate 17179869184 bytes.",
        "[metal::malloc] Resource limit (499000) exceeded.",
        "cudaMallocAsync(&data, size, stream) failed: out of memory",
    ],
)
def test_the_texts_that_mlx_says_it_with(text: str) -> None:
    told = "no room on the device for a step"
    with pytest.raises(OutOfMemory, match=told) as found, room_for("a step"):
        raise RuntimeError(text)
    assert found.value.where == text
    assert "batch_size" in found.value.hint


def test_other_faults_stay_what_they_are() -> None:
    with pytest.raises(ValueError, match="broadcast"), room_for("a sum"):
        mx.eval(mx.ones((2, 3)) + mx.ones((4, 5)))
    with pytest.raises(RuntimeError, match="kernel"), room_for("a step"):
        raise RuntimeError("unable to build the kernel")


def _no_room(*_: object, **__: object) -> None:
    """What Metal says. MLX on a Linux CPU cannot be asked: an allocation that fails there ends the
    process inside MLX."""
    raise RuntimeError("[malloc_or_wait] Unable to allocate 17179869184 bytes.")


def test_what_was_accumulated_survives_running_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_model(tmp_path, "llama")
    session = MlxSession(ModelSpec(str(tmp_path), dtype="float32", device="cpu"))
    session.adapters.add(AdapterSpec(rank=4), "topic")
    batch = random_batch(np.random.default_rng(0))
    alone = session.learner(Objective("sft"), OptimizerSpec())
    alone.accumulate(batch, window_of(batch))
    wanted = alone.apply(1e-3, None)
    session.adapters.unload("topic")
    session.adapters.add(AdapterSpec(rank=4), "topic")
    learner = session.learner(Objective("sft"), OptimizerSpec())
    learner.accumulate(batch, window_of(batch))
    monkeypatch.setattr(module, "batch_loss", _no_room)
    with pytest.raises(OutOfMemory, match="no room on the device for 8 rows of 24 tokens"):
        learner.accumulate(batch, window_of(batch))
    assert learner.apply(1e-3, None) == wanted
    session.close()
    session.close()
    with pytest.raises(BackendError, match="closed"):
        session.logprobs(batch)


def _traces() -> int:
    """How often MLX traces a compiled function that is called three times: 3 is not compiled."""
    traced: list[int] = []

    @mx.compile
    def once(x: mx.array) -> mx.array:
        traced.append(1)
        return x + 1

    for _ in range(3):
        mx.eval(once(mx.ones((2,))))
    return len(traced)


def test_nothing_is_compiled_on_the_cpu(tmp_path: Path) -> None:
    """mlx-lm's activations are compiled functions, each built by a C++ compiler at run time."""
    make_model(tmp_path, "llama")
    mx.enable_compile()
    session = MlxSession(ModelSpec(str(tmp_path), device="cpu"))
    assert _traces() == 3
    session.close()


def test_every_use_of_a_session_sets_its_own_device(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Device and compilation are the process's. Two sessions, the second as if on a GPU: each
    call of one must not run where the other's last one did."""
    make_model(tmp_path, "llama")
    sessions = [MlxSession(ModelSpec(str(tmp_path), device="cpu")) for _ in range(2)]
    sessions[1]._decoder._device = "gpu"
    used: list[str] = []
    monkeypatch.setattr(model, "use", used.append)
    batch = random_batch(np.random.default_rng(1))
    for session in sessions:
        session.adapters.add(AdapterSpec(rank=2), "topic")
    learners = [session.learner(Objective("sft"), OptimizerSpec()) for session in sessions]
    calls: list[Callable[[MlxSession, MlxLearner], object]] = [
        lambda session, _: session.logits(batch),
        lambda session, _: session.logprobs(batch),
        lambda session, _: session.generate([[5]], GenerateSpec(1, ())),
        lambda _, learner: learner.accumulate(batch, window_of(batch)),
        lambda _, learner: learner.apply(1e-3, 1.0),
        lambda _, learner: learner.gradients(batch, window_of(batch)),
        lambda session, _: session.adapters.base_fingerprint(),
        lambda session, _: session.adapters.merge_and_unload(),
    ]
    for call in calls:
        for session, learner, name in zip(sessions, learners, ("cpu", "gpu"), strict=True):
            used.clear()
            call(session, learner)
            assert used and set(used) == {name}
    with sessions[0].adapters.using(("topic",)):
        sessions[1].logits(batch)
    assert used[-1] == "cpu"  # what `using` puts back is its own session's work
    for session in sessions:
        session.close()


def test_a_cpu_session_turns_compilation_off_again(tmp_path: Path) -> None:
    make_model(tmp_path, "llama")
    session = MlxSession(ModelSpec(str(tmp_path), device="cpu"))
    mx.enable_compile()  # as a session on a GPU does
    assert _traces() == 1
    session.logits(random_batch(np.random.default_rng(2)))
    assert _traces() == 3
    session.close()

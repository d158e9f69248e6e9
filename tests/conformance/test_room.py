"""Running out of memory outside the forward pass, and giving memory back: nothing half done, and
no weights kept by whoever still holds a part of a closed session."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from backends.contract import (
    Batch,
    GenerateSpec,
    Learner,
    Objective,
    OptimizerSpec,
    Params,
    Session,
    Window,
)
from backends.errors import ModelError, OutOfMemory
from tests.conformance.conftest import ModelFolder, OpenSession
from tests.conformance.trained import SPEC, attach
from tests.tiny import random_batch, window_of

SFT = Objective("sft")


@contextmanager
def no_room(backend: str, patch: pytest.MonkeyPatch, after: int = 0) -> Iterator[None]:
    """The frameworks' own words, said where each asks for room: this machine's CPU never does.
    `after` allocations are granted first."""
    left = [after]

    def refused(name: str, granted: Callable[..., Any], error: Exception) -> Callable[..., Any]:
        def asked(*args: Any, **kwargs: Any) -> Any:
            if left[0] == 0:
                raise error
            left[0] -= 1
            return granted(*args, **kwargs)

        return asked

    with patch.context() as inside:
        if backend == "torch":
            import torch

            error: Exception = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")
            for name in ("empty_like", "zeros_like", "from_numpy"):
                inside.setattr(torch, name, refused(name, getattr(torch, name), error))
        else:
            import mlx.core as mx

            error = RuntimeError("[malloc_or_wait] Unable to allocate 17179869184 bytes.")
            inside.setattr(mx, "eval", refused("eval", mx.eval, error))
        yield


def same(one: Params, other: Params) -> bool:
    return one.keys() == other.keys() and all(np.array_equal(one[n], other[n]) for n in one)


@pytest.mark.parametrize("family", ["llama"])
@pytest.mark.parametrize("largest", [None, 0.5])
def test_a_step_without_room_is_no_step(
    session: Session, backend: str, monkeypatch: pytest.MonkeyPatch, largest: float | None
) -> None:
    batch = attach(session, "topic", seed=111)
    start = session.adapters.parameters()
    learner = session.learner(SFT, OptimizerSpec())
    for _ in range(2):
        learner.accumulate(batch, window_of(batch))
        learner.apply(1e-3, largest)
    wanted = learner.state(), session.adapters.parameters()
    learner.assign(start)
    learner = session.learner(SFT, OptimizerSpec())
    learner.accumulate(batch, window_of(batch))
    learner.apply(1e-3, largest)
    learner.accumulate(batch, window_of(batch))
    before = learner.state(), session.adapters.parameters()
    with no_room(backend, monkeypatch), pytest.raises(OutOfMemory, match="an optimizer step"):
        learner.apply(1e-3, largest)
    assert int(learner.state()["step"]) == 1
    assert all(np.array_equal(learner.state()[n], before[0][n]) for n in before[0])
    assert same(session.adapters.parameters(), before[1])
    learner.apply(1e-3, largest)  # what was accumulated is still there
    assert all(np.array_equal(learner.state()[n], wanted[0][n]) for n in wanted[0])
    assert same(session.adapters.parameters(), wanted[1])


@pytest.mark.parametrize("family", ["llama"])
def test_moments_without_room_are_no_learner(
    session: Session, backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Made with the learner: the first step must not be the one that finds no room for them."""
    batch = attach(session, "topic", seed=116)
    with no_room(backend, monkeypatch), pytest.raises(OutOfMemory, match="the optimizer's moments"):
        session.learner(SFT, OptimizerSpec())
    learner = session.learner(SFT, OptimizerSpec())
    state = learner.state()
    assert int(state["step"]) == 0
    assert {n for n in state if n[:2] == "m."} == {f"m.{n}" for n in session.adapters.trainable()}
    assert not any(state[name].any() for name in state if name[:2] in ("m.", "v."))
    learner.accumulate(batch, window_of(batch))
    with no_room(backend, monkeypatch), pytest.raises(OutOfMemory, match="an optimizer step"):
        learner.apply(1e-3, None)
    assert all(np.array_equal(learner.state()[n], state[n]) for n in state if n != "rng")


@pytest.mark.parametrize("family", ["llama"])
def test_an_adapter_without_room_is_not_attached(
    session: Session, backend: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    batch = attach(session, "past", seed=112)
    session.adapters.save(tmp_path)
    session.adapters.freeze("past")
    logits, prints = session.logits(batch), session.adapters.base_fingerprint()
    for granted in (0, 1, 5):
        with no_room(backend, monkeypatch, granted), pytest.raises(OutOfMemory, match="adapter"):
            session.adapters.add(SPEC, "topic")
        assert session.adapters.active() == ("past",)
        assert session.adapters.trainable() == {}
        for frozen in (True, False):
            with no_room(backend, monkeypatch, granted), pytest.raises(OutOfMemory):
                session.adapters.load(tmp_path, "other", frozen=frozen)
        assert session.adapters.active() == ("past",)
        assert np.array_equal(session.logits(batch), logits)
    assert session.adapters.base_fingerprint() == prints
    session.adapters.add(SPEC, "topic")
    assert np.array_equal(session.logits(batch), logits)


@pytest.mark.parametrize("family", ["llama"])
def test_freezing_without_room_keeps_the_adapter_in_training(
    session: Session, backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch = attach(session, "topic", seed=113)
    logits, learned = session.logits(batch), session.adapters.parameters()
    with no_room(backend, monkeypatch, 3), pytest.raises(OutOfMemory):
        session.adapters.freeze("topic")
    assert same(session.adapters.parameters(), learned)
    assert np.array_equal(session.logits(batch), logits)
    session.adapters.freeze("topic")
    assert session.adapters.trainable() == {}


def weights_of(session: Any, backend: str) -> Any:
    """A weak reference to a base weight's owner."""
    if backend == "torch":
        return weakref.ref(session._opened.model.model.layers[0].mlp.down_proj.weight)
    return weakref.ref(session._decoder.net.model.layers[0].self_attn)


@pytest.mark.parametrize("family", ["qwen2"])
def test_a_closed_session_keeps_no_weights(
    open_session: OpenSession, model_of: ModelFolder, backend: str, family: str
) -> None:
    session = open_session(backend, model_of(family))
    batch = attach(session, "past", seed=114)
    session.adapters.freeze("past")
    session.adapters.add(SPEC, "topic")
    learner, adapters = session.learner(SFT, OptimizerSpec()), session.adapters
    learner.accumulate(batch, window_of(batch))
    weights = weights_of(session, backend)
    session.close()
    gc.collect()
    assert weights() is None
    session.close()
    assert learner and adapters


USES: dict[str, Callable[[Session, Learner, Batch, Path], object]] = {
    "logprobs": lambda s, _, b, __: s.logprobs(b),
    "logits": lambda s, _, b, __: s.logits(b),
    "generate": lambda s, _, __, ___: s.generate([[5]], GenerateSpec(1, ())),
    "learner": lambda s, _, __, ___: s.learner(SFT, OptimizerSpec()),
    "add": lambda s, _, __, ___: s.adapters.add(SPEC, "other"),
    "load": lambda s, _, __, path: s.adapters.load(path, "other"),
    "save": lambda s, _, __, path: s.adapters.save(path),
    "freeze": lambda s, _, __, ___: s.adapters.freeze("topic"),
    "unload": lambda s, _, __, ___: s.adapters.unload("topic"),
    "merge": lambda s, _, __, ___: s.adapters.merge_and_unload(),
    "snapshot": lambda s, _, __, ___: s.adapters.snapshot(),
    "trainable": lambda s, _, __, ___: s.adapters.trainable(),
    "parameters": lambda s, _, __, ___: s.adapters.parameters(),
    "active": lambda s, _, __, ___: s.adapters.active(),
    "using": lambda s, _, __, ___: s.adapters.using(()),
    "fingerprint": lambda s, _, __, ___: s.adapters.base_fingerprint(),
    "accumulate": lambda _, learner, b, __: learner.accumulate(b, Window(1)),
    "apply": lambda _, learner, __, ___: learner.apply(1e-3, None),
    "gradients": lambda _, learner, b, __: learner.gradients(b, Window(1)),
    "state": lambda _, learner, __, ___: learner.state(),
    "assign": lambda _, learner, __, ___: learner.assign({}),
}


@pytest.mark.parametrize("family", ["llama"])
def test_using_a_closed_session_says_so(session: Session, tmp_path: Path) -> None:
    session.adapters.add(SPEC, "topic")
    session.adapters.save(tmp_path)
    learner = session.learner(SFT, OptimizerSpec())
    batch = random_batch(np.random.default_rng(115))
    session.close()
    for use in USES.values():
        with pytest.raises(ModelError, match="this session is closed"):
            use(session, learner, batch, tmp_path)

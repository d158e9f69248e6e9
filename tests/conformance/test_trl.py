"""TRL's trainers against our own loop: the same batches, rates and start give the same steps."""

from __future__ import annotations

import contextlib
import gc
import importlib
import os
import random
import weakref
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from backends import engine
from backends.contract import AdapterSpec, Batch, Objective, OptimizerSpec, Params, Session
from backends.engines import Course, Taken
from backends.errors import AdapterError, OutOfMemory
from mindprint.errors import Interrupted
from mindprint.events import Event
from tests.conformance.conftest import ModelFolder, OpenSession
from tests.conformance.trained import SPEC, train
from tests.runs import curriculum, make_run, tree_bytes
from tests.tiny import (
    PAIRS,
    make_tokenizer,
    preference_batch,
    random_batch,
    window_of,
    with_reference,
)

SEED = 2**47 + 5
"""As large as a stage's own: NumPy's generators, which trainers seed too, take 32 bits."""
LOSS, ADAPTER = 1e-5, 1e-4
"""Measured: 2e-6 at most in loss and margin, 4e-6 of the update's norm. Sums in another order."""


@pytest.fixture(scope="module", autouse=True)
def trl_out_of_sight() -> None:
    """accelerate collects garbage as a trainer begins: what TRL imports is put out of sight, as the
    frameworks are (conftest.py)."""
    importlib.import_module("backends.torch.trl_stage")
    gc.collect()
    gc.freeze()


@pytest.fixture
def opened(open_session: OpenSession, model_of: ModelFolder) -> Callable[..., Session]:
    """A session with a frozen past and an adapter in training that has learned something."""

    def open_one(family: str = "qwen2", dropout: float = 0.0) -> Session:
        session = open_session("torch", model_of(family))
        batch = random_batch(np.random.default_rng(1))
        session.adapters.add(SPEC, "past")
        train(session, batch, steps=1)
        session.adapters.freeze("past")
        session.adapters.add(AdapterSpec(rank=3, alpha=6.0, dropout=dropout, seed=9), "now")
        train(session, batch, steps=1)
        return session

    return open_one


def course(session: Session, objective: Objective, epochs: int = 2, rate: float = 1e-2) -> Course:
    """Two windows an epoch: two batches of unlike sizes, then what is left over."""
    rng = np.random.default_rng(4)
    if objective.kind == "sft":
        batches = [random_batch(rng, lengths) for lengths in ((9, 13, 5, 24), (7, 19, 4), (11, 6))]
    else:
        shapes = (PAIRS, PAIRS[:2], PAIRS[2:3])
        batches = [with_reference(preference_batch(rng, shape), session) for shape in shapes]
    windows = (batches[:2], batches[2:])
    return Course(epochs, 2, lambda step: windows[step % 2], lambda step: rate / (1 + step), 1.0)


def native(session: Session, objective: Objective, course: Course) -> list[Taken]:
    learner = session.learner(objective, OptimizerSpec(seed=SEED))
    taken = []
    for step in range(course.steps):
        batches = course.batches_of(step)
        window = window_of(*batches)
        stats = [learner.accumulate(batch, window) for batch in batches]
        norm = learner.apply(course.rate_of(step), course.max_grad_norm)
        margin = sum(part.margin for part in stats) / max(window.pairs, 1)
        loss, wins = sum(part.loss for part in stats), sum(part.wins for part in stats)
        taken.append(Taken(loss, norm, 0.0, margin, wins))
    return taken


def through_trl(
    session: Session,
    objective: Objective,
    course: Course,
    heard: Callable[[Taken], bool] = lambda taken: True,
) -> list[Taken]:
    taken: list[Taken] = []

    def hear(one: Taken) -> bool:
        taken.append(one)
        return heard(one)

    engine("trl").train(session, objective, OptimizerSpec(seed=SEED), course, hear)
    return taken


def norm(params: Params, other: Params) -> float:
    return float(np.sqrt(sum(((params[name] - other[name]) ** 2).sum() for name in params)))


@pytest.mark.parametrize(
    ("family", "objective", "dropout"),
    [
        ("qwen2", Objective("sft"), 0.0),
        ("gemma3_text", Objective("sft"), 0.0),
        ("phi3", Objective("sft"), 0.3),
        ("qwen2", Objective("dpo"), 0.2),
        ("gemma3_text", Objective("dpo", sft_weight=0.2), 0.0),
        ("qwen2", Objective("dpo", loss="hinge", beta=0.3), 0.0),
        ("qwen2", Objective("dpo", loss="length-normalised", sft_weight=0.5), 0.0),
    ],
)
def test_trl_takes_the_steps_that_our_own_loop_takes(
    opened: Callable[..., Session], family: str, objective: Objective, dropout: float
) -> None:
    """Over a frozen past, with windows of unlike batches; dropout draws the same masks in SFT, and
    none in DPO."""
    ours, theirs = opened(family, dropout), opened(family, dropout)
    start = ours.adapters.parameters()
    wanted = native(ours, objective, course(ours, objective))
    found = through_trl(theirs, objective, course(theirs, objective))
    assert len(found) == len(wanted) == 4
    for mine, other in zip(wanted, found, strict=True):
        assert other.loss == pytest.approx(mine.loss, abs=LOSS)
        assert other.norm == pytest.approx(mine.norm, rel=1e-4)
        assert other.margin == pytest.approx(mine.margin, abs=LOSS)
        assert other.wins == mine.wins
    end = ours.adapters.parameters()
    assert norm(theirs.adapters.parameters(), end) <= ADAPTER * norm(end, start)


def test_a_session_bears_no_mark_of_it(
    opened: Callable[..., Session], capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Neither do the process, the terminal and the working folder."""
    session: Any = opened()
    model = session.opened.model

    def state() -> tuple[Any, ...]:
        names = [name for name, _ in model.named_modules()]
        modes = {module.training for module in model.modules()}
        settings = (model.config.to_dict(), model.generation_config.to_dict())
        return set(vars(model)), names, modes, settings, dict(os.environ), random.getstate()

    base, before = session.adapters.base_fingerprint(), state()
    drawn = np.random.get_state()[1].tolist()  # type: ignore[index,union-attr]
    capfd.readouterr()
    os.chdir(tmp_path)
    through_trl(session, Objective("dpo"), course(session, Objective("dpo"), epochs=1))
    assert capfd.readouterr() == ("", "")
    assert list(tmp_path.iterdir()) == []
    assert state() == before
    assert np.random.get_state()[1].tolist() == drawn  # type: ignore[index,union-attr]
    assert session.adapters.base_fingerprint() == base
    assert session.adapters.active() == ("past", "now")
    assert set(session.adapters.trainable()) == set(session.adapters.parameters())
    session.adapters.freeze("now")
    session.adapters.add(AdapterSpec(rank=2), "next")


def test_what_is_asked_between_steps_is_asked_of_the_model_as_it_stands(
    opened: Callable[..., Session],
) -> None:
    """Dropout off, the adapter acting, the values those of the step; and asking changes nothing."""
    session, silent = opened(dropout=0.5), opened(dropout=0.5)
    batch = random_batch(np.random.default_rng(0))
    asked: list[Any] = []

    def ask(_: Taken) -> bool:
        asked.append((session.logprobs(batch).rows, session.adapters.parameters()))
        assert set(session.adapters.trainable()) == set(session.adapters.parameters())
        with session.adapters.using(()):
            session.logprobs(batch)
        return True

    through_trl(session, Objective("sft"), course(session, Objective("sft")), ask)
    through_trl(silent, Objective("sft"), course(silent, Objective("sft")))
    np.testing.assert_array_equal(asked[-1][0], session.logprobs(batch).rows)
    assert norm(asked[-1][1], session.adapters.parameters()) == 0.0
    assert norm(silent.adapters.parameters(), session.adapters.parameters()) == 0.0


class Broken(Exception):
    pass


@pytest.mark.parametrize("raises", [False, True])
def test_a_stage_ended_early_leaves_the_model_as_its_last_step_did(
    opened: Callable[..., Session], raises: bool
) -> None:
    session = opened()
    kept: list[Params] = []

    def heard(_: Taken) -> bool:
        kept.append(session.adapters.parameters())
        if len(kept) == 2 and raises:
            raise Broken
        return len(kept) < 2

    def go() -> None:
        through_trl(session, Objective("dpo"), course(session, Objective("dpo")), heard)

    if raises:
        with pytest.raises(Broken):
            go()
    else:
        go()
    assert len(kept) == 2 and norm(*kept) > 0
    assert norm(session.adapters.parameters(), kept[1]) == 0.0
    assert set(session.adapters.trainable()) == set(kept[1])


def test_values_restored_between_steps_are_those_that_stay(opened: Callable[..., Session]) -> None:
    session = opened()
    start = session.adapters.snapshot()

    def heard(_: Taken) -> bool:
        session.adapters.restore(start)
        return False

    through_trl(session, Objective("sft"), course(session, Objective("sft")), heard)
    assert start.trainable is not None
    assert norm(session.adapters.parameters(), start.trainable[2]) == 0.0


def test_a_step_that_is_not_finite_is_told_and_not_taken(opened: Callable[..., Session]) -> None:
    session = opened()
    kept: list[Params] = []

    def heard(_: Taken) -> bool:
        kept.append(session.adapters.parameters())
        return True

    far = replace(course(session, Objective("sft")), rate_of=lambda step: 1e30)
    taken = through_trl(session, Objective("sft"), far, heard)
    assert len(taken) == 2 and not np.isfinite(taken[1].loss)
    assert norm(kept[0], kept[1]) == norm(kept[0], session.adapters.parameters()) == 0.0


def test_a_reference_that_is_not_the_stages_start_is_refused(
    opened: Callable[..., Session],
) -> None:
    """The witness: TRL's own copy of the adapter, against the batches' log-probabilities."""
    session = opened()
    with session.adapters.using(("past",)):
        wrong = course(session, Objective("dpo"))
    with pytest.raises(AdapterError, match="reference is not the policy as the stage began"):
        through_trl(session, Objective("dpo"), wrong)
    assert session.adapters.active() == ("past", "now")


def test_what_trl_has_no_equal_of_is_refused(
    opened: Callable[..., Session], open_session: OpenSession, model_of: ModelFolder
) -> None:
    session = opened()
    ipo = Objective("dpo", loss="ipo")
    with pytest.raises(AdapterError, match="another loss"):
        through_trl(session, ipo, course(session, ipo))
    other = open_session("mlx", model_of("qwen2"))
    other.adapters.add(SPEC, "now")
    with pytest.raises(AdapterError, match="models that the torch backend opened"):
        through_trl(other, Objective("sft"), course(other, Objective("sft")))


def test_uneven_windows_are_refused_by_their_step(opened: Callable[..., Session]) -> None:
    session = opened()
    sound = course(session, Objective("sft"))

    def batches_of(step: int) -> Sequence[Batch]:
        return sound.batches_of(step)[: 1 if step == 2 else None]

    with pytest.raises(AdapterError, match="step 3 has 1 batches, and 2 were counted on"):
        through_trl(session, Objective("sft"), replace(sound, batches_of=batches_of))


def test_a_full_device_is_told_in_the_contracts_words(
    opened: Callable[..., Session], monkeypatch: pytest.MonkeyPatch
) -> None:
    from trl import SFTTrainer

    def full(*_: Any, **__: Any) -> None:
        raise RuntimeError("CUDA out of memory. Tried to allocate 2 GiB")

    monkeypatch.setattr(SFTTrainer, "compute_loss", full)
    session = opened()
    with pytest.raises(OutOfMemory, match="no room for 4 rows of 24 tokens"):
        through_trl(session, Objective("sft"), course(session, Objective("sft")))
    assert session.adapters.active() == ("past", "now")


def test_no_trainer_reports_that_it_was_made(
    opened: Callable[..., Session], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The hub's library sends nothing while this stands; the session's own setting comes back."""
    from huggingface_hub import constants
    from trl.trainer import base_trainer

    off: list[bool] = []
    monkeypatch.delenv("CI", raising=False)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_TELEMETRY", False)

    def send(**_: Any) -> None:
        off.append(bool(constants.HF_HUB_DISABLE_TELEMETRY))

    monkeypatch.setattr(base_trainer, "send_telemetry", send)
    session = opened()
    through_trl(session, Objective("sft"), course(session, Objective("sft"), epochs=1))
    assert off == [True] and constants.HF_HUB_DISABLE_TELEMETRY is False


ASKED = {
    "ACCELERATE_MIXED_PRECISION": "bf16",
    "ACCELERATE_DYNAMO_BACKEND": "eager",
    "ACCELERATE_USE_DEEPSPEED": "true",
    "ACCELERATE_USE_FSDP": "1",
    "ACCELERATE_TORCH_DEVICE": "meta",
    "LOCAL_RANK": "0",
    "WORLD_SIZE": "2",
}
NOTHING = {
    "ACCELERATE_USE_CPU": "True",
    "ACCELERATE_MIXED_PRECISION": "no",
    "ACCELERATE_DYNAMO_BACKEND": "NO",
    "ACCELERATE_DYNAMO_MODE": "default",
    "ACCELERATE_DYNAMO_USE_FULLGRAPH": "False",
    "ACCELERATE_TORCH_DEVICE": "cpu",
    "ACCELERATE_LOG_LEVEL": "info",
    "LOCAL_RANK": "-1",
    "WORLD_SIZE": "1",
}
"""What `accelerate launch` and a plain machine's shell leave behind."""


def test_what_a_launcher_asks_for_is_refused_before_it_is_obeyed(
    opened: Callable[..., Session], monkeypatch: pytest.MonkeyPatch
) -> None:
    """By name, each that asks for something, and none that asks for nothing."""
    from backends.torch import trl_stage

    def made(*_: Any) -> None:
        raise AssertionError("the trainer's arguments were made")

    session = opened()
    with monkeypatch.context() as patched:
        patched.setattr(trl_stage._Settings, "args", made)
        for name, value in ASKED.items():
            with patched.context() as one:
                one.setenv(name, value)
                with pytest.raises(AdapterError, match=f"asks accelerate for `{name}={value}`"):
                    through_trl(session, Objective("sft"), course(session, Objective("sft")))
    for name, value in NOTHING.items():
        monkeypatch.setenv(name, value)
    short = course(session, Objective("sft"), epochs=1)
    assert len(through_trl(session, Objective("sft"), short)) == 2


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("ACCELERATE_DYNAMO_BACKEND", "eager", r"a compiler \(eager\)"),
        ("ACCELERATE_MIXED_PRECISION", "bf16", r"mixed precision \(bf16\)"),
        ("ACCELERATE_TORCH_DEVICE", "meta", "the device meta"),
    ],
)
def test_what_accelerate_was_told_in_another_way_is_refused_before_a_step(
    opened: Callable[..., Session],
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    value: str,
    told: str,
) -> None:
    """As a later accelerate might read it: from a file, or under another name."""
    from backends.torch import trl_stage

    monkeypatch.setattr(trl_stage, "check_environment", lambda device: None)
    monkeypatch.setenv(name, value)
    session = opened()
    before = session.adapters.parameters()
    with pytest.raises(AdapterError, match=f"accelerate was told to use .*{told}"):
        through_trl(session, Objective("sft"), course(session, Objective("sft")))
    assert norm(session.adapters.parameters(), before) == 0.0


def test_a_platform_that_reports_of_itself_does_not(
    opened: Callable[..., Session], monkeypatch: pytest.MonkeyPatch
) -> None:
    from transformers import integrations

    from backends.torch import trl_trainers

    reported: list[Any] = []
    real = trl_trainers.Listener.on_step_end

    def seen(self: Any, *words: Any, **named: Any) -> None:
        reported.append(words[0].report_to)
        made = [type(one).__name__ for one in self.trainer.callback_handler.callbacks]
        reported.extend(name for name in made if "Kubeflow" in name)
        real(self, *words, **named)

    monkeypatch.setattr(integrations, "is_kubeflow_available", lambda: True)
    monkeypatch.setattr(trl_trainers.Listener, "on_step_end", seen)
    session = opened()
    through_trl(session, Objective("sft"), course(session, Objective("sft"), epochs=1))
    assert reported == [[], []]


@pytest.mark.parametrize("raises", [False, True])
def test_the_trainer_is_gone_with_its_stage(
    opened: Callable[..., Session], monkeypatch: pytest.MonkeyPatch, raises: bool
) -> None:
    """The optimizer's state and the reference's copy of the adapter too, at once: not when the
    collector comes round."""
    from backends.torch import trl_stage

    kept: list[weakref.ref[Any]] = []
    real = trl_stage._trainer

    def made(*words: Any) -> Any:
        trainer = real(*words)
        kept.extend((weakref.ref(trainer), weakref.ref(trainer.model)))
        return trainer

    def heard(_: Taken) -> bool:
        trainer = kept[0]()
        assert trainer is not None
        state = trainer.optimizer.state.values()
        kept.extend(weakref.ref(one["exp_avg"]) for one in state)
        if raises:
            raise Broken
        return True

    session = opened()
    monkeypatch.setattr(trl_stage, "_trainer", made)
    gc.disable()
    try:
        with pytest.raises(Broken) if raises else contextlib.nullcontext():
            through_trl(
                session, Objective("dpo"), course(session, Objective("dpo"), epochs=1), heard
            )
        assert len(kept) > 10 and not [one for one in kept if one() is not None]
    finally:
        gc.enable()


class Unreadable(Exception):
    pass


@pytest.mark.filterwarnings("ignore:.*gradient_checkpointing:FutureWarning")  # PEFT's own
@pytest.mark.parametrize("inside", [False, True])
def test_what_failed_first_is_what_is_told(
    opened: Callable[..., Session], monkeypatch: pytest.MonkeyPatch, inside: bool
) -> None:
    """The trained values cannot be read back: the adapter is as it came, nothing of the wrapping is
    left, and an error from inside is not covered by this one."""
    from backends.torch.trainable import Trainable

    session: Any = opened()
    before = session.adapters.parameters()

    def unreadable(_: Trainable) -> None:
        raise Unreadable("no values")

    with (
        pytest.raises(OutOfMemory if inside else Unreadable) as found,
        monkeypatch.context() as patched,
        session.attachments.wrapped(),
    ):
        patched.setattr(Trainable, "values", unreadable)
        if inside:
            raise OutOfMemory("no room")
    notes = getattr(found.value, "__notes__", [])
    assert notes == (["putting things back failed as well: no values"] if inside else [])
    assert session.adapters.active() == ("past", "now")
    assert norm(session.adapters.parameters(), before) == 0.0
    session.adapters.freeze("now")


RUN = (
    "gate.rollback=false",
    "dpo.when=always",
    "sft.batch_size=4",
    "sft.accumulate=2",
    "dpo.batch_size=4",
    "eval.max_tokens=4",
    "eval.retention=off",
    "eval.few_shot=0",
)


@pytest.fixture(scope="module")
def model(model_of: ModelFolder) -> Path:
    return make_tokenizer(model_of("qwen2", initializer_range=0.02))


def test_a_run_through_trl_is_the_run_that_our_own_loop_makes(tmp_path: Path, model: Path) -> None:
    """The same events, curves, held-out losses and kept epochs: 22 rows, of which some are held
    out; and stopped in DPO it goes on, from that stage's start, to the same end."""
    teach, trl = curriculum(1, rows=22), "run.engine=trl"
    ours = make_run(tmp_path / "ours", model, "torch", *RUN, teach=teach)
    theirs = make_run(tmp_path / "theirs", model, "torch", *RUN, trl, teach=teach)
    assert ours.result is not None and theirs.result is not None
    pairs = zip(ours.result.topics[0].stages, theirs.result.topics[0].stages, strict=True)
    for wanted, found in pairs:
        for key in ("name", "steps", "rows", "tokens", "kept_epoch", "stopped", "accepted"):
            assert getattr(found, key) == getattr(wanted, key)
        for key in ("curve", "margins", "held_out_loss"):
            np.testing.assert_allclose(getattr(found, key), getattr(wanted, key), atol=LOSS)
    assert theirs.result.topics[0].stages[0].held_out_loss
    steps = [
        [
            {**e.data, "loss": 0, "margin": 0, "tokens_per_second": 0}
            for e in made.events
            if e.kind == "step"
        ]
        for made in (ours, theirs)
    ]
    assert steps[0] == steps[1]
    assert not (theirs.path / "checkpoints").exists()

    heard: list[Event] = []

    def count(event: Event, _: Session) -> None:
        if event.kind == "step" and event.stage == "dpo":
            heard.append(event)

    with pytest.raises(
        Interrupted, match="the dpo stage in hand begins anew: `trl` takes stages whole"
    ):
        make_run(
            tmp_path / "parts",
            model,
            "torch",
            *RUN,
            trl,
            teach=teach,
            listen=count,
            stop=lambda: len(heard) == 2,
        )
    make_run(tmp_path / "parts", model, "torch", *RUN, trl, teach=teach)
    assert tree_bytes(tmp_path / "parts") == tree_bytes(theirs.path)

"""S2: an adapter frozen by a second preparation, and a loss that stayed at 3.289622."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from backends.errors import ModelError
from mindprint import ledger
from mindprint.errors import ConfigError, Interrupted, StageError
from mindprint.events import Event
from mindprint.rundir import RunDir
from tests.conformance.conftest import ModelFolder, OpenSession
from tests.runs import Made, curriculum, make_run
from tests.seeds.breakage import after_add
from tests.tiny import make_tokenizer

LONG = ("sft.epochs=4", "sft.batch_size=2", "gate.rollback=false", "dpo.when=always")
"""Twelve SFT steps over a topic's six rows."""


def prepare_again(session: Any) -> None:
    """What the trainer did to a model that was prepared already: really PEFT's own function, and
    on MLX the `freeze` that mlx-lm's recipes begin with."""
    if type(session).__module__.startswith("backends.torch"):
        from peft import prepare_model_for_kbit_training

        prepare_model_for_kbit_training(session._opened.model, use_gradient_checkpointing=False)
    else:
        session._decoder.net.freeze()


def after(owner: Any, name: str, fault: Callable[[], None]) -> None:
    """Let `fault` loose each time `owner.name` has been called."""
    real = getattr(owner, name)

    def called(*args: Any, **kwargs: Any) -> Any:
        found = real(*args, **kwargs)
        fault()
        return found

    setattr(owner, name, called)


def stopped_at(path: Path, model: Path, backend: str, stage: str, step: int) -> None:
    """A run that was stopped once `step` of `stage` was done."""
    reached: list[bool] = []

    def listen(event: Event, session: Any) -> None:
        if event.kind == "step" and event.stage == stage and event.data["step"] == step:
            reached.append(True)

    with pytest.raises(Interrupted):
        make_run(
            path,
            model,
            backend,
            *LONG,
            teach=curriculum(1),
            listen=listen,
            stop=lambda: bool(reached),
        )


def went_on(path: Path, model: Path, backend: str, meddle: Callable[[Any], None]) -> Made:
    return make_run(path, model, backend, *LONG, teach=curriculum(1), meddle=meddle)


def test_a_second_preparation_after_attaching_is_seen_before_a_step(
    tmp_path: Path, backend: str, model: Path
) -> None:
    steps: list[Event] = []

    def listen(event: Event, session: Any) -> None:
        if event.kind == "step":
            steps.append(event)

    with pytest.raises(StageError, match="nothing would be trained") as caught:
        make_run(
            tmp_path / "run",
            model,
            backend,
            *LONG,
            meddle=lambda session: after_add(session, prepare_again),
            listen=listen,
        )
    assert "sft" in caught.value.where
    assert "froze it after it was attached" in caught.value.hint
    assert not steps


def test_a_second_preparation_after_a_load_is_seen(
    tmp_path: Path, backend: str, model: Path
) -> None:
    """The run goes on in DPO: SFT's adapter is loaded from its folder, and frozen then."""
    stopped_at(tmp_path / "run", model, backend, "dpo", 1)

    def meddle(session: Any) -> None:
        after(session.adapters, "load", lambda: prepare_again(session))

    with pytest.raises(StageError, match="nothing would be trained"):
        went_on(tmp_path / "run", model, backend, meddle)


def test_a_second_preparation_after_a_checkpoint_is_seen(
    tmp_path: Path, backend: str, model: Path
) -> None:
    """The run goes on within SFT: frozen once adapter and moments were put back."""
    stopped_at(tmp_path / "run", model, backend, "sft", 3)

    def meddle(session: Any) -> None:
        real = session.learner

        def learner(*args: Any, **kwargs: Any) -> Any:
            found = real(*args, **kwargs)
            after(found, "load_state", lambda: prepare_again(session))
            return found

        session.learner = learner

    with pytest.raises(StageError, match="nothing would be trained"):
        went_on(tmp_path / "run", model, backend, meddle)


def test_a_second_preparation_in_the_middle_of_a_stage_is_seen(
    tmp_path: Path, backend: str, model: Path
) -> None:
    """PyTorch has no gradient from there on. MLX's is taken by name, whatever is frozen, so the
    stage learns to its end; that nothing trains any more is seen before the next begins."""
    losses: list[float] = []

    def listen(event: Event, session: Any) -> None:
        if event.kind == "step":
            losses.append(float(event.data["loss"]))
            if event.data["step"] == 3:
                prepare_again(session)

    with pytest.raises(StageError, match=r"nothing would be trained|no adapter is training"):
        make_run(tmp_path / "run", model, backend, *LONG, teach=curriculum(1), listen=listen)
    assert len(losses) == {"torch": 3, "mlx": 12}[backend]
    assert len(set(losses)) == len(losses)
    assert losses[-1] < losses[0]


def test_steps_that_change_nothing_show_a_loss_that_does_not_change(
    tmp_path: Path, backend: str, model: Path
) -> None:
    """The first step is taken, so that something has moved; from the second on none is."""
    losses: list[float] = []

    def meddle(session: Any) -> None:
        real = session.learner

        def learner(*args: Any, **kwargs: Any) -> Any:
            found = real(*args, **kwargs)
            apply, taken = found.apply, [0]

            def apply_once(rate: float, norm: float | None) -> float:
                taken[0] += 1
                return float(apply(rate if taken[0] == 1 else 0.0, norm))

            found.apply = apply_once
            return found

        session.learner = learner

    def listen(event: Event, session: Any) -> None:
        if event.kind == "step":
            losses.append(float(event.data["loss"]))

    # One row, so that equal weights give an equal loss to the last bit.
    alone = curriculum(1, rows=1)
    whole = ("sft.epochs=30", "sft.schedule=constant", "sft.warmup_ratio=0")
    with pytest.raises(StageError, match=r"the loss has been exactly \d\.\d+ for 10 steps"):
        make_run(
            tmp_path / "run",
            model,
            backend,
            *whole,
            teach=alone,
            meddle=meddle,
            listen=listen,
        )
    assert len(losses) < 15
    assert np.ptp(losses[2:]) == 0
    assert losses[0] != losses[-1]


PACKED = ("model.quantization=4bit", "dpo.when=always", "gate.rollback=false")


@pytest.fixture(scope="module")
def wide(model_of: ModelFolder) -> Path:
    """With rows that both backends can pack."""
    sizes = {"hidden_size": 64, "intermediate_size": 96}
    return make_tokenizer(model_of("llama", max_position_embeddings=256, **sizes))


def test_a_run_over_packed_weights_is_stacked_and_stays_its_backends(
    tmp_path: Path, backend: str, wide: Path, open_session: OpenSession
) -> None:
    made = make_run(tmp_path / "run", wide, backend, *PACKED)
    assert made.result is not None
    chosen = {choice.key: choice for choice in made.result.choices}["handoff"]
    assert chosen.name == "stack" and "quantized" in chosen.because
    assert made.notices().count("merged into") == 0
    assert all(accepted for accepted, _ in (*made.verdicts("sft"), *made.verdicts("dpo")))
    run = RunDir(tmp_path / "run")
    again = open_session(backend, wide, quantization="4bit")
    assert ledger.attach(again, run)
    other = {"torch": "mlx", "mlx": "torch"}[backend]
    for name, quantization in ((other, "4bit"), (backend, "8bit"), (backend, "none")):
        session = open_session(name, wide, quantization=quantization)
        with pytest.raises(ConfigError, match="not the model that the run was made on") as caught:
            ledger.attach(session, run)
        told = "each backend's packed weights are its own" in caught.value.hint
        assert told == (quantization != "none")


def test_a_second_preparation_of_a_packed_base_is_seen(
    tmp_path: Path, backend: str, wide: Path
) -> None:
    """It is prepared as it is opened; once more, as the trainer did it, freezes the adapter."""
    with pytest.raises(StageError, match="nothing would be trained"):
        make_run(
            tmp_path / "run",
            wide,
            backend,
            *PACKED,
            meddle=lambda session: after_add(session, prepare_again),
        )


def test_the_packed_base_is_prepared_once_before_anything_is_attached(
    open_session: OpenSession, wide: Path
) -> None:
    """Norms in float32, nothing of the base trained, and no mark by which a trainer would prepare
    it once more; what was prepared is not prepared again."""
    import torch

    from backends.torch import quantization

    session: Any = open_session("torch", wide, quantization="4bit", dtype="bfloat16")
    model = session.opened.model
    norms = [one for name, one in model.named_parameters() if name.endswith("norm.weight")]
    assert len(norms) == 2 * session.info.layers + 1
    assert {one.dtype for one in norms} == {torch.float32}
    assert model.lm_head.weight.dtype == torch.bfloat16
    assert not any(one.requires_grad for one in model.parameters())
    assert not any(hasattr(model, mark) and getattr(model, mark) for mark in quantization.MARKS)
    assert not hasattr(model.config, "quantization_config")
    with pytest.raises(ModelError, match="bitsandbytes packed no layer"):
        quantization.prepare(model)

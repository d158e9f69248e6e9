"""S2: an adapter frozen by a second preparation, and a loss that stayed at 3.289622."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mindprint.errors import Interrupted, StageError
from mindprint.events import Event
from tests.runs import Made, curriculum, make_run
from tests.seeds.breakage import after_add

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

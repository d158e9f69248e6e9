"""A backend that trains something else is seen by a comparison, which names the step.

Each sabotage goes in below the guards, in the learner of the run, so that only the figures of the
run can tell of it. The oracle is the clean run of either backend.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from backends.contract import Batch
from mindprint import guards
from mindprint.compare.model import Comparison, StageKind
from mindprint.compare.read import compared
from mindprint.tokens.batches import window_of
from tests.conformance.conftest import BACKENDS, ModelFolder
from tests.runs import curriculum, make_run
from tests.seeds.breakage import after_add, module
from tests.tiny import make_tokenizer

AUTHOR = curriculum(topics=1, rows=7)
SHORT = (
    "sft.batch_size=3",
    "sft.warmup_ratio=0",
    "dpo.learning_rate=1e-3",
    "dpo.batch_size=3",
    "gate.rollback=false",
    "eval.retention=off",
    "eval.max_tokens=4",
)
Sabotage = Callable[[Any, str, pytest.MonkeyPatch], None]


def twice_the_scale(session: Any, backend: str, patch: pytest.MonkeyPatch) -> None:
    """The adapter acts by 2 alpha/rank."""

    def double(session: Any) -> None:
        if backend == "torch":
            for layer in session.adapters.training.layers.values():
                layer.scaling["default"] *= 2
        else:
            for layer in session.adapters._wrapped.values():
                layer._spec = replace(layer._spec, alpha=2 * layer._spec.alpha)

    after_add(session, double)


def padding_trained(session: Any, backend: str, patch: pytest.MonkeyPatch) -> None:
    """The first padding token of each row counts as one of the answer."""

    def with_padding(batch: Batch, session: Any) -> Batch:
        mask, rows = batch.mask.copy(), np.flatnonzero(batch.lengths < batch.ids.shape[1])
        assert len(rows)
        mask[rows, batch.lengths[rows]] = True
        return remasked(batch, mask)

    change_batches(session, "sft", with_padding)


def end_not_trained(session: Any, backend: str, patch: pytest.MonkeyPatch) -> None:
    """The end-of-turn token of each row is left out."""

    def without_end(batch: Batch, session: Any) -> Batch:
        mask = batch.mask.copy()
        mask[np.arange(len(mask)), batch.lengths - 1] = False
        return remasked(batch, mask)

    change_batches(session, "sft", without_end)


def no_bias_correction(session: Any, backend: str, patch: pytest.MonkeyPatch) -> None:
    """AdamW takes its first step as if it were the millionth: all corrections are 1."""
    adamw = module(backend, "adamw").AdamW
    make = adamw.__init__

    def made(self: Any, *rest: Any) -> None:
        make(self, *rest)
        self._steps = 10**6

    patch.setattr(adamw, "__init__", made)


def reference_is_the_base(session: Any, backend: str, patch: pytest.MonkeyPatch) -> None:
    """DPO is anchored to the base, and the guard that refuses this is silent."""
    patch.setattr(guards, "check_start", lambda *_: None)

    def anchored(batch: Batch, session: Any) -> Batch:
        with session.adapters.using(()):
            return replace(batch, reference=session.logprobs(batch).rows)

    change_batches(session, "dpo", anchored)


@dataclass(frozen=True)
class Fault:
    """A sabotage, and where and as what a comparison must see it."""

    put_in: Sabotage
    stage: StageKind
    step: int
    guessed: str


FAULTS = {
    "scale": Fault(twice_the_scale, "sft", 2, "the adapter's scale"),
    "padding": Fault(padding_trained, "sft", 1, "masked otherwise (padding"),
    "end": Fault(end_not_trained, "sft", 1, "end-of-turn"),
    "bias": Fault(no_bias_correction, "sft", 2, "bias correction"),
    "reference": Fault(reference_is_the_base, "dpo", 1, "does not begin DPO at its reference"),
}


def remasked(batch: Batch, mask: np.ndarray[Any, np.dtype[np.bool_]]) -> Batch:
    """With another mask, which the contract itself would refuse on padding."""
    changed = replace(batch)
    object.__setattr__(changed, "mask", mask)
    return changed


def change_batches(session: Any, kind: StageKind, change: Callable[[Batch, Any], Batch]) -> None:
    """Let the learners of one kind of stage see other batches, and count their tokens."""
    real = session.learner

    def learner(objective: Any, optimizer: Any, **settings: Any) -> Any:
        made = real(objective, optimizer, **settings)
        accumulate = made.accumulate

        def other(batch: Batch, window: Any) -> Any:
            seen = change(batch, session)
            return accumulate(seen, window_of([seen]))  # every window here is of one batch

        if objective.kind == kind:
            made.accumulate = other
        return made

    session.learner = learner


@pytest.fixture(scope="module")
def model(model_of: ModelFolder) -> Path:
    return make_tokenizer(model_of("qwen2", initializer_range=0.02))


@pytest.fixture(scope="module")
def clean(model: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One untouched run of SFT and DPO on each backend."""
    folder = tmp_path_factory.mktemp("clean")
    for backend in BACKENDS:
        make_run(folder / backend, model, backend, *SHORT, "dpo.when=always", teach=AUTHOR)
    return {backend: folder / backend for backend in BACKENDS}


def test_two_clean_runs_do_not_part(clean: dict[str, Path]) -> None:
    found = compared(list(clean.items()))
    print([(one.stage, one.measure, f"{one.worst:.1e}") for one in found.partings])  # pytest -rP
    assert [(one.stage, one.measure) for one in found.partings] == [
        ("sft", "loss"),
        ("dpo", "loss"),
        ("dpo", "margin"),
    ]
    assert all(one.bound is not None and one.step is None for one in found.partings)
    assert found.first == ()
    assert found.distances[0].relative is not None
    assert 0 < found.distances[0].relative < 1e-3  # the bar of the adapters, and two frameworks
    assert "keeps to `torch` within the bounds over all 9 steps of 2 stages" in found.verdict


@pytest.mark.parametrize("name", FAULTS)
def test_a_sabotage_is_seen_where_it_acts(
    clean: dict[str, Path],
    tmp_path: Path,
    model: Path,
    backend: str,
    name: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fault = FAULTS[name]
    when = "always" if fault.stage == "dpo" else "never"
    made = make_run(
        tmp_path / "run",
        model,
        backend,
        *SHORT,
        f"dpo.when={when}",
        teach=AUTHOR,
        meddle=lambda session: fault.put_in(session, backend, monkeypatch),
    )
    for reference in BACKENDS:
        seen(compared([("clean", clean[reference]), ("made", made.path)]), fault)


def seen(found: Comparison, fault: Fault) -> None:
    (first,) = found.first
    assert (first.run, first.stage, first.step) == ("made", fault.stage, fault.step)
    assert first.apart > 10 * first.bound  # no rounding comes near
    assert fault.guessed in first.guess
    assert first.where in found.verdict and first.guess in found.verdict

"""S1: adapters left attached, never attached, or merged into something else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from backends.contract import AdapterSpec, Objective, OptimizerSpec
from backends.errors import AdapterError, MergeRefused
from mindprint.errors import StageError
from tests.conformance.conftest import OpenSession
from tests.conformance.trained import attach
from tests.runs import make_run
from tests.seeds.breakage import (
    after_add,
    attach_nothing,
    freeze_adapter,
    module,
    unfreeze_base,
)
from tests.tiny import random_batch, window_of

KEEP_ALL = ("gate.rollback=false", "dpo.when=always")


def test_an_adapter_over_one_that_still_trains_is_refused(
    open_session: OpenSession, backend: str, model: Path
) -> None:
    """SFT's adapter was still attached when DPO added its own."""
    session = open_session(backend, model)
    session.adapters.add(AdapterSpec(rank=2), "sft")
    with pytest.raises(AdapterError, match="`sft` is still training") as caught:
        session.adapters.add(AdapterSpec(rank=2), "dpo")
    assert "freeze, merge_and_unload or unload" in caught.value.hint


def test_a_topic_does_not_begin_over_the_adapter_of_the_last(
    tmp_path: Path, backend: str, model: Path
) -> None:
    """DPO's adapter was still attached when the next topic began: here `freeze` does nothing."""

    def meddle(session: Any) -> None:
        session.adapters.freeze = lambda name: None

    with pytest.raises(AdapterError, match="still training"):
        make_run(tmp_path / "run", model, backend, *KEEP_ALL, "handoff=stack", meddle=meddle)


def test_an_adapter_that_somebody_else_attached_is_refused(
    open_session: OpenSession, model: Path
) -> None:
    """PEFT only warned ("second time") and ruined the model."""
    from peft import LoraConfig, inject_adapter_in_model

    session: Any = open_session("torch", model)
    config = LoraConfig(r=2, target_modules=["q_proj"])
    inject_adapter_in_model(config, session._opened.model)
    with pytest.raises(AdapterError, match="not attached by this session"):
        session.adapters.add(AdapterSpec(rank=2), "sft")


def test_a_stale_peft_config_is_refused(open_session: OpenSession, model: Path) -> None:
    """PEFT below 0.19 left one behind after merging ("multiple adapters")."""
    session: Any = open_session("torch", model)
    session._opened.model.peft_config = {"default": object()}
    with pytest.raises(AdapterError, match="stale `peft_config`"):
        session.adapters.add(AdapterSpec(rank=2), "sft")


def test_a_merge_leaves_no_trace_of_the_adapter(
    open_session: OpenSession, backend: str, model: Path
) -> None:
    session = open_session(backend, model)
    names = set(session.adapters.base_fingerprint())
    attach(session, "sft", seed=1)
    batch = random_batch(np.random.default_rng(2))
    exact = session.logits(batch)
    session.adapters.merge_and_unload()
    assert session.adapters.active() == () and session.adapters.trainable() == {}
    assert set(session.adapters.base_fingerprint()) == names
    np.testing.assert_allclose(session.logits(batch), exact, atol=1e-4)  # float32 sums reordered
    session.adapters.add(AdapterSpec(rank=2), "next")


def test_a_stub_that_attaches_nothing_trains_nothing(
    tmp_path: Path, backend: str, model: Path
) -> None:
    with pytest.raises(AdapterError, match="no adapter is in training"):
        make_run(tmp_path / "run", model, backend, meddle=attach_nothing)


def test_a_frozen_adapter_is_seen_before_the_first_step(
    tmp_path: Path, backend: str, model: Path
) -> None:
    def meddle(session: Any) -> None:
        after_add(session, freeze_adapter)

    steps: list[object] = []

    def listen(event: Any, _: Any) -> None:
        steps.extend([event] if event.kind == "step" else [])

    with pytest.raises(StageError, match="nothing would be trained"):
        make_run(tmp_path / "run", model, backend, meddle=meddle, listen=listen)
    assert not steps


def test_base_weights_that_would_train_are_named(tmp_path: Path, backend: str, model: Path) -> None:
    def meddle(session: Any) -> None:
        after_add(session, unfreeze_base)

    with pytest.raises(StageError, match=r"outside the adapter .*layers\.0\.mlp\.down_proj"):
        make_run(tmp_path / "run", model, backend, meddle=meddle)


def test_a_corrupted_merge_is_refused_and_undone(
    open_session: OpenSession, backend: str, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The merge on MPS that corrupted weights: here every merged weight comes out 5 % too large."""
    session = open_session(backend, model)
    before = session.adapters.base_fingerprint()
    attach(session, "sft", seed=1)
    merge = module(backend, "merge")
    real = merge._folded
    monkeypatch.setattr(merge, "_folded", lambda *given: (1.05 if given[-1] else 1) * real(*given))
    with pytest.raises(MergeRefused, match="would lose"):
        session.adapters.merge_and_unload()
    assert session.adapters.active() == ("sft",)
    assert session.adapters.base_fingerprint() == before


def test_an_adapter_too_small_for_bf16_is_not_merged_into_it(
    open_session: OpenSession, backend: str, model: Path
) -> None:
    """Rank 1 at a learning rate of 5e-7, merged into half precision: nothing survived rounding."""
    session = open_session(backend, model, dtype="bfloat16")
    session.adapters.add(AdapterSpec(rank=1, alpha=1.0, seed=3), "dpo")
    batch = random_batch(np.random.default_rng(1))
    learner = session.learner(Objective("sft"), OptimizerSpec())
    for _ in range(20):
        learner.accumulate(batch, window_of(batch))
        learner.apply(5e-7, 1.0)
    with pytest.raises(MergeRefused, match=r"\d+ ?%") as caught:
        session.adapters.merge_and_unload()
    assert "stack" in caught.value.hint
    assert session.adapters.active() == ("dpo",)

"""S1: harm that looked like training, and scores that nobody could explain."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from mindprint.errors import StageError
from mindprint.evals import exam
from tests.conformance.tamper import change_weight
from tests.runs import make_run
from tests.seeds.breakage import module

# Enough SFT that the tiny model's answers are no loops, so that the stage stays and DPO runs.
TAUGHT = ("sft.epochs=8", "dpo.when=always", "dpo.epochs=3", "dpo.learning_rate=1e-3")


def test_a_ruinous_dpo_stage_is_rolled_back_with_its_reason(
    tmp_path: Path, backend: str, model: Path
) -> None:
    """All topics scored voice 0.00 after DPO, the loss looked fine, and nobody knew for weeks."""
    made = make_run(tmp_path / "run", model, backend, *TAUGHT, "dpo.learning_rate=1")
    assert made.result is not None
    assert made.verdicts("dpo")
    for accepted, why in made.verdicts("dpo"):
        assert not accepted
        assert any(
            word in why
            for word in ("ended early", "degenerate", "did not rise", "not finite", "fell")
        )
    ledger = json.loads((made.path / "ledger.json").read_text())
    assert not any(entry["accepted"] for entry in ledger["entries"] if entry["stage"] == "dpo")


def test_a_flipped_sign_is_seen_in_the_margin(
    tmp_path: Path, backend: str, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DPO on MLX trained towards the rejected answer: the loss is flipped here on both."""
    losses = module(backend, "losses")
    real = losses._pair_losses
    monkeypatch.setattr(
        losses,
        "_pair_losses",
        lambda objective, ratio, trained, pairs: real(objective, -ratio, trained, pairs),
    )
    made = make_run(tmp_path / "run", model, backend, *TAUGHT, "dpo.sft_weight=0")
    assert made.verdicts("dpo")
    for accepted, why in made.verdicts("dpo"):
        assert not accepted
        assert "trained towards the rejected answers" in why


def test_a_right_sign_is_not_complained_of(tmp_path: Path, backend: str, model: Path) -> None:
    made = make_run(tmp_path / "run", model, backend, *TAUGHT, "dpo.sft_weight=0")
    assert made.verdicts("dpo")
    assert not any("rejected answers" in why for _, why in made.verdicts("dpo"))


def test_a_reference_that_is_not_the_stages_start_is_refused(
    tmp_path: Path, backend: str, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DPO anchored to the base instead of the SFT policy, silently, in several peers."""
    from mindprint import stages

    real = stages.reference_logprobs

    def of_the_base(session: Any, pairs: Any) -> Any:
        with session.adapters.using(()):
            return real(session, pairs)

    monkeypatch.setattr(stages, "reference_logprobs", of_the_base)
    with pytest.raises(StageError, match="does not start at its reference"):
        make_run(tmp_path / "run", model, backend, *TAUGHT, "gate.rollback=false")


def test_a_base_that_changes_while_a_stage_trains_is_named(
    tmp_path: Path, backend: str, model: Path
) -> None:
    def listen(event: Any, session: Any) -> None:
        if event.kind == "step" and event.data["step"] == 2:
            change_weight(session, backend, "bit")

    with pytest.raises(StageError, match=r"base tensors changed.*layers\.1\.mlp\.down_proj"):
        make_run(tmp_path / "run", model, backend, listen=listen)
    ledger = json.loads((tmp_path / "run" / "ledger.json").read_text())
    assert ledger["entries"] == []


def test_an_evaluation_that_fails_is_a_failed_run(
    tmp_path: Path, backend: str, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The predecessor swallowed the exception and scored 0.0."""

    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("a fault in the scorer")

    monkeypatch.setattr(exam, "judge", broken)
    with pytest.raises(ZeroDivisionError, match="a fault in the scorer"):
        make_run(tmp_path / "run", model, backend)
    assert not (tmp_path / "run" / "result.json").exists()


def test_a_score_of_zero_has_its_reason(tmp_path: Path, backend: str, model: Path) -> None:
    made = make_run(tmp_path / "run", model, backend, "dpo.when=never")
    assert made.result is not None
    for topic in made.result.topics:
        for score in topic.scores.values():
            for figure in ("accuracy", "voice"):
                if getattr(score, figure) == 0:
                    assert any(reason.startswith(f"{figure} 0.00:") for reason in score.reasons)


def test_an_adapter_the_optimizer_cannot_move_is_told(
    tmp_path: Path, backend: str, model: Path
) -> None:
    """A learning rate below what float32 can add changes no tensor: said at the first step."""
    with pytest.raises(StageError, match="changed no adapter tensor"):
        make_run(tmp_path / "run", model, backend, "sft.learning_rate=1e-60")

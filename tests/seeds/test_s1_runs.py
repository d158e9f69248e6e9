"""S1: harm that looked like training, and scores that nobody could explain."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from mindprint.curriculum.load import read_curriculum
from mindprint.errors import DataError, StageError
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
            word in why for word in ("ended early", "broken", "did not rise", "not finite", "fell")
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

    def of_the_base(session: Any, *rest: Any) -> Any:
        with session.adapters.using(()):
            return real(session, *rest)

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
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    assert result["status"] != "finished"
    assert not any(topic["scores"] for topic in result["topics"])


@pytest.mark.parametrize(
    ("row", "format_"),
    [
        ({"instruction": "What is lamp 1?", "input": "", "output": "It is grey."}, "alpaca"),
        ({"question": "What is lamp 1?", "answer": "It is grey."}, "question-answer"),
    ],
)
def test_another_layout_is_read_and_said_aloud(
    tmp_path: Path, row: dict[str, str], format_: str
) -> None:
    """Answers in question/answer instead of instruction/output were read as empty."""
    author = read_curriculum(write_author(tmp_path, row))
    (trained,) = author.topics[0].train
    assert [message.content for message in trained.messages] == ["What is lamp 1?", "It is grey."]
    assert author.formats["unit/chapter/topic/train.jsonl"] == format_


@pytest.mark.parametrize("row", [{"q": "What is lamp 1?", "a": "It is grey."}, {"question": "?"}])
def test_a_row_that_holds_no_text_is_a_fault_with_its_line(
    tmp_path: Path, row: dict[str, str]
) -> None:
    with pytest.raises(DataError) as caught:
        read_curriculum(write_author(tmp_path, row))
    assert any(
        fault.file.endswith("train.jsonl") and fault.line == 1 for fault in caught.value.faults
    )


def write_author(root: Path, row: dict[str, str]) -> Path:
    """A curriculum of one topic with one training row."""
    topic = root / "unit" / "chapter" / "topic"
    topic.mkdir(parents=True)
    (root / "curriculum.yaml").write_text("title: Lamps\nauthor: A keeper\nsystem: You keep.\n")
    (topic / "train.jsonl").write_text(json.dumps(row) + "\n")
    quiz = {"question": "And lamp 1?", "reference": "Grey.", "key_points": [["grey"]]}
    (topic / "quiz.jsonl").write_text(json.dumps(quiz) + "\n")
    return root


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

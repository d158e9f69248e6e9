"""Whatever the verdicts are, the ledger says what is attached, and a stopped run ends the same."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from backends import get
from backends.contract import ModelSpec
from mindprint import gate, ledger
from mindprint.errors import Interrupted
from mindprint.gate import Verdict
from mindprint.report.files import read_result
from mindprint.rundir import RunDir
from tests.conformance.conftest import ModelFolder
from tests.runs import Made, curriculum, make_run, tree_bytes
from tests.tiny import make_tokenizer, random_batch

COMBINATIONS = (
    ("stack", "continue"),
    ("stack", "new"),
    ("merge", "continue"),
    ("merge", "new"),
    ("continue", "continue"),
)
SETTINGS = (
    "dpo.when=always",
    "dpo.learning_rate=1e-3",
    "gate.retries=1",
    "sft.epochs=1",
    "eval.max_tokens=6",
    "run.checkpoint_every=1",
)


@pytest.fixture(scope="module")
def model(model_of: ModelFolder) -> Path:
    return make_tokenizer(model_of("qwen3", max_position_embeddings=256))


@pytest.fixture
def fate(backend: str, monkeypatch: pytest.MonkeyPatch) -> int:
    """Verdicts drawn by a hash of what was answered: every mixture of kept and rolled back, another
    on each backend."""
    drawn = int(backend == "mlx")

    def coin(*parts: Any) -> int:
        return hashlib.sha256(repr((drawn, *parts)).encode()).digest()[0]

    def said(exam: Any) -> tuple[str, ...]:
        return tuple(answer.text for answer in exam.answers)

    monkeypatch.setattr(
        gate,
        "judge_sft",
        lambda before, after, *_, **__: Verdict(coin("sft", said(after)) % 3 > 0, "?"),
    )
    monkeypatch.setattr(
        gate,
        "judge_dpo",
        lambda before, after, stage, *_, **__: Verdict(
            coin("dpo", said(after), stage.attempt) % 2 > 0, "?"
        ),
    )
    monkeypatch.setattr(gate, "passes", lambda score, marks: False)
    monkeypatch.setattr(
        gate, "rank", lambda before, score, marks: coin("rank", score.model_dump_json())
    )
    monkeypatch.setattr(
        gate,
        "judge_topic",
        lambda before, final, marks: Verdict(coin("topic", final.model_dump_json()) % 4 > 0, "?"),
    )
    return drawn


class AfterSteps:
    """A wish to stop, once so many steps were taken, from then on."""

    def __init__(self, count: int) -> None:
        self._left = count

    def hear(self, event: Any, session: Any) -> None:
        self._left -= event.kind == "step"

    def asked(self) -> bool:
        return self._left <= 0


@pytest.mark.parametrize(("handoff", "adapter"), COMBINATIONS)
def test_the_ledger_is_what_the_session_ended_with(
    tmp_path: Path, backend: str, model: Path, fate: int, handoff: str, adapter: str
) -> None:
    batch = random_batch(np.random.default_rng(0))
    ended: list[np.ndarray] = []
    own = ("dpo.rank=4",) if adapter == "new" else ()
    settings = (*SETTINGS, *own, f"handoff={handoff}", f"dpo.adapter={adapter}")

    def listen(event: Any, session: Any) -> None:
        if event.kind == "run-finished":
            ended.append(session.logits(batch))

    def run(path: Path, **given: Any) -> Made:
        return make_run(path, model, backend, *settings, teach=curriculum(3, 4), **given)

    whole = run(tmp_path / "whole", listen=listen)
    session = get(backend).open(ModelSpec(str(model), dtype="float32", device="cpu"))
    ledger.attach(session, RunDir.open(whole.path))
    # a merge adds before the product, the ledger after it: float32 rounding apart
    np.testing.assert_allclose(session.logits(batch), ended[0], atol=1e-4)
    session.close()

    stops = AfterSteps(3 + 5 * fate)
    with pytest.raises(Interrupted):
        run(tmp_path / "parts", stop=stops.asked, listen=stops.hear)
    run(tmp_path / "parts")
    assert tree_bytes(tmp_path / "parts") == tree_bytes(whole.path)


def test_a_topic_is_tried_again_with_more_epochs(tmp_path: Path, backend: str, model: Path) -> None:
    made = make_run(tmp_path / "run", model, backend, "gate.retries=2", "dpo.when=never")
    assert made.result is not None
    topic = made.result.topics[0]
    assert topic.attempts == 3 and topic.status == "failed"
    assert [stage.epochs for stage in topic.stages] == [2, 4, 6]
    book = ledger.read(RunDir.open(made.path))
    assert [entry.name for entry in book.entries][:3] == [
        f"{topic.id}:sft",
        f"{topic.id}:sft#2",
        f"{topic.id}:sft#3",
    ]
    for entry in book.entries:
        assert entry.accepted or "not kept" in entry.verdict or "broken" in entry.verdict


def test_a_merge_that_would_lose_too_much_stays_stacked_under_auto(
    tmp_path: Path, backend: str, model: Path
) -> None:
    """So small an adapter that float32 weights round it away: kept exact instead, aloud."""
    tiny = ("sft.learning_rate=1e-9", "sft.epochs=1", "gate.rollback=false", "dpo.when=never")
    made = make_run(tmp_path / "run", model, backend, *tiny)
    assert made.result is not None and made.result.status == "finished"
    assert "stacked instead of merged" in made.notices()
    assert len(ledger.read(RunDir.open(made.path)).acting()) == 2


def test_another_model_is_not_gone_on_with(
    tmp_path: Path, backend: str, model: Path, model_of: ModelFolder
) -> None:
    from mindprint.errors import ConfigError

    other = make_tokenizer(model_of("qwen3", max_position_embeddings=256, seed=9))
    with pytest.raises(Interrupted):
        make_run(tmp_path / "run", model, backend, stop=lambda: True)
    with pytest.raises(ConfigError, match="not the model that the run was made on"):
        make_run(tmp_path / "run", other, backend)


def test_going_on_keeps_the_time_and_memory_of_both_parts(
    tmp_path: Path, backend: str, model: Path
) -> None:
    whole = make_run(tmp_path / "whole", model, backend, "dpo.when=never")
    stops = AfterSteps(3)
    with pytest.raises(Interrupted):
        make_run(
            tmp_path / "parts",
            model,
            backend,
            "dpo.when=never",
            stop=stops.asked,
            listen=stops.hear,
        )
    before = read_result(tmp_path / "parts").timings
    assert before.training > 0  # of the topic that was under way
    again = make_run(tmp_path / "parts", model, backend, "dpo.when=never")
    assert whole.result is not None and again.result is not None
    assert again.result.timings.training > before.training
    assert [one.stage for one in again.result.memory] == [one.stage for one in whole.result.memory]
    assert again.result.timings.total > 0

"""A whole run on every backend: what it leaves behind, how the past is carried, going on."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from backends import get
from backends.contract import Batch, ModelSpec, Session
from backends.errors import OutOfMemory
from mindprint import ledger
from mindprint.errors import ConfigError, Interrupted, StageError
from mindprint.evals.exam import Examiner, Said
from mindprint.events import Event
from mindprint.exams import EXAM, read_exam
from mindprint.rundir import RunDir
from tests.conformance.conftest import ModelFolder
from tests.runs import curriculum, make_run, tree_bytes
from tests.tiny import make_tokenizer, random_batch

KEEP_ALL = ("gate.rollback=false", "dpo.when=always")


@pytest.fixture(scope="module")
def model(model_of: ModelFolder) -> Path:
    """A tiny Qwen2 that can speak: with a tokenizer and a chat template."""
    return make_tokenizer(model_of("qwen2", initializer_range=0.02))


def opened(backend: str, model: Path) -> Session:
    return get(backend).open(ModelSpec(str(model), dtype="float32", device="cpu"))


def test_a_run_leaves_a_whole_folder(
    tmp_path: Path, backend: str, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    answer = Examiner.answer

    def counted(self: Examiner, prompts: Sequence[Any]) -> list[Said]:
        asked.append(len(prompts))
        return answer(self, prompts)

    monkeypatch.setattr(Examiner, "answer", counted)
    made = make_run(tmp_path / "run", model, backend, *KEEP_ALL)
    # Nothing is asked twice of one state: a base of 8, a topic's 4 before it unless the base
    # stands, after each of two stages its 4 again and the first topic's 4 once there is a second.
    assert sum(asked) == made.plan.questions == 8 + (0 + 2 * 4) + (4 + 2 * (4 + 4))
    assert made.result is not None and made.result.status == "finished"
    names = {file.relative_to(made.path).as_posix() for file in made.path.rglob("*")}
    for stage in ("sft", "dpo"):
        folder = f"topics/unit/chapter/topic-1/{stage}"
        for name in ("adapter_config.json", "adapter_model.safetensors", "metrics.jsonl"):
            assert f"{folder}/{name}" in names
        assert f"{folder}/eval.json" in names and f"{folder}/answers.jsonl" in names
    assert "topics/unit/chapter/topic-1/dpo/reference.npy" in names
    assert {"config.yaml", "plan.json", "events.jsonl", "ledger.json", "result.json"} <= names
    assert not [name for name in names if "partial" in name or "checkpoints/" in name]
    topics = made.result.topics
    before = made.path / "topics/unit/chapter/topic-0/before" / EXAM
    assert read_exam(before) == read_exam(made.path / "base/unit/chapter/topic-0.json")
    assert [topic.attempts for topic in topics] == [1, 1]
    assert set(topics[0].scores) == {"base", "before", "sft", "dpo", "final"}
    rows = {(row.after, row.stage): set(row.scores) for row in made.result.forgetting}
    first, second = "unit/chapter/topic-0", "unit/chapter/topic-1"
    assert rows == {
        ("", "base"): {first, second},
        (first, "before"): {first},
        (first, "sft"): {first},
        (first, "dpo"): {first},
        (first, "final"): {first},
        (second, "before"): {second},
        (second, "sft"): {first, second},
        (second, "dpo"): {first, second},
        (second, "final"): {first, second},
    }


@pytest.mark.parametrize("handoff", ["stack", "merge", "continue"])
def test_the_ledger_rebuilds_the_model_that_was_trained(
    tmp_path: Path, backend: str, model: Path, handoff: str
) -> None:
    """What `attach` loads from disk gives the logits that the run's own session ended with."""
    batch = random_batch(np.random.default_rng(0))
    ended: list[np.ndarray] = []

    def listen(event, session):  # type: ignore[no-untyped-def]
        if event.kind == "run-finished":
            ended.append(session.logits(batch))

    made = make_run(
        tmp_path / "run", model, backend, *KEEP_ALL, f"handoff={handoff}", listen=listen
    )
    fresh = opened(backend, model)
    base = fresh.logits(batch)
    ledger.attach(fresh, RunDir.open(made.path))
    rebuilt = fresh.logits(batch)
    fresh.close()
    # A merge adds W + delta before the product, the ledger after it: float32 rounding apart.
    np.testing.assert_allclose(rebuilt, ended[0], atol=1e-4)
    assert np.abs(rebuilt - base).max() > 1e-2


def test_handoffs_agree_about_the_first_topic(tmp_path: Path, backend: str, model: Path) -> None:
    """Until the first topic is over, how it will be carried cannot matter."""
    files = [
        tree_bytes(make_run(tmp_path / way, model, backend, *KEEP_ALL, f"handoff={way}").path)
        for way in ("stack", "merge", "continue")
    ]
    name = "topics/unit/chapter/topic-0/dpo/adapter_model.safetensors"
    assert files[0][name] == files[1][name] == files[2][name]


def test_equal_runs_give_equal_bytes(tmp_path: Path, backend: str, model: Path) -> None:
    first = make_run(tmp_path / "a", model, backend, *KEEP_ALL)
    second = make_run(tmp_path / "b", model, backend, *KEEP_ALL)
    assert tree_bytes(first.path) == tree_bytes(second.path)


@pytest.mark.parametrize("stop_at", [1, 3, 7, 10])
def test_a_stopped_run_goes_on_to_the_same_end(
    tmp_path: Path, backend: str, model: Path, stop_at: int
) -> None:
    """Stopped after a step of SFT or of DPO, of the first or the second topic."""
    settings = (*KEEP_ALL, "run.checkpoint_every=2", "sft.accumulate=2", "sft.batch_size=2")
    whole = make_run(tmp_path / "whole", model, backend, *settings)
    steps: list[object] = []

    def count(event: Event, _: Session) -> None:
        if event.kind == "step":
            steps.append(event)

    def stop() -> bool:
        return len(steps) >= stop_at

    with pytest.raises(Interrupted):
        make_run(tmp_path / "parts", model, backend, *settings, stop=stop, listen=count)
    assert len(steps) == stop_at
    again = make_run(tmp_path / "parts", model, backend, *settings)
    assert tree_bytes(again.path) == tree_bytes(whole.path)
    assert again.result is not None and whole.result is not None
    scores = [[topic.scores for topic in result.topics] for result in (again.result, whole.result)]
    assert scores[0] == scores[1]


def test_a_smaller_batch_after_running_out_of_memory_changes_nothing(
    tmp_path: Path, backend: str, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = make_run(tmp_path / "whole", model, backend, "gate.rollback=false")
    monkeypatch.setattr(type_of_learner(backend), "accumulate", full_above(backend, rows=2))
    tight = make_run(tmp_path / "tight", model, backend, "gate.rollback=false", "run.on_oom=shrink")
    assert "out of memory: batches of 2 from here" in tight.notices()
    assert whole.result is not None and tight.result is not None
    for one, other in zip(whole.result.topics, tight.result.topics, strict=True):
        losses = [[loss for _, loss in topic.stages[0].curve] for topic in (one, other)]
        # the same window in smaller pieces: only the order of float32 sums differs
        np.testing.assert_allclose(losses[0], losses[1], rtol=1e-4)
    with pytest.raises(StageError, match="out of memory with 4 rows") as caught:
        make_run(tmp_path / "stopped", model, backend, "gate.rollback=false")
    assert caught.value.hint.startswith(
        "lower `sft.max_tokens` first, then set `sft.batch_size=2` with `sft.accumulate=2`"
    )
    assert "`mindprint resume RUN --set run.on_oom=shrink`" in caught.value.hint


def type_of_learner(backend: str) -> type:
    if backend == "torch":
        from backends.torch.learner import TorchLearner

        return TorchLearner
    from backends.mlx.learner import MlxLearner

    return MlxLearner


def full_above(backend: str, rows: int) -> Callable[..., object]:
    real = type_of_learner(backend).accumulate

    def accumulate(self: object, batch: Batch, window: object) -> object:
        if batch.ids.shape[0] > rows:
            raise OutOfMemory(f"no room for {batch.ids.shape[0]} rows")
        return real(self, batch, window)

    return accumulate


def test_the_best_epoch_by_held_out_loss_is_kept(tmp_path: Path, backend: str, model: Path) -> None:
    """20 rows: 2 are held out. At a rate that overshoots, the best epoch is not the last."""
    made = make_run(
        tmp_path / "run",
        model,
        backend,
        "sft.epochs=4",
        "sft.learning_rate=0.05",
        "sft.schedule=constant",
        "gate.rollback=false",
        "dpo.when=never",
        teach=curriculum(topics=1, rows=20),
    )
    assert made.result is not None
    stage = made.result.topics[0].stages[0]
    assert stage.rows == 18 and len(stage.held_out_loss) == 4
    assert stage.kept_epoch == min(stage.held_out_loss, key=lambda told: told[1])[0]


def test_only_the_author_is_chosen_in_self_drawn_pairs(
    tmp_path: Path, backend: str, model: Path
) -> None:
    """A random model is never right in its facts, so no pair may come of its answers."""
    made = make_run(
        tmp_path / "run", model, backend, "dpo.when=always", "dpo.pairs=self", "gate.rollback=false"
    )
    assert made.result is not None
    assert "no DPO: 0 pairs drawn from the model (12 answers: 12" in made.result.topics[0].verdict


def test_an_impossible_combination_is_refused_before_a_model_is_opened(
    tmp_path: Path, model: Path
) -> None:
    with pytest.raises(ConfigError, match="keeps one adapter for all topics"):
        make_run(tmp_path / "run", model, "torch", "handoff=continue", "dpo.adapter=new")
    assert not (tmp_path / "run").exists()


def test_every_event_is_on_disk(tmp_path: Path, backend: str, model: Path) -> None:
    made = make_run(tmp_path / "run", model, backend, "dpo.when=never")
    lines = (made.path / "events.jsonl").read_text().splitlines()
    told = [event.kind for event in made.events if event.kind != "step"]
    assert [json.loads(line)["kind"] for line in lines] == told

"""A run that changes its backend at a topic's boundary, and back again, is one run."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from backends import lora, peft_files
from backends.contract import Session
from mindprint import ledger
from mindprint.cli import execute
from mindprint.cli.app import run
from mindprint.disk.sealed import read_json
from mindprint.errors import Interrupted
from mindprint.events import Event, Listener
from mindprint.export.folded import concatenated, norm
from mindprint.rundir import RunDir
from tests.conformance.conftest import ModelFolder, OpenSession
from tests.runs import curriculum, make_run
from tests.tiny import make_model, make_tokenizer, random_batch

# Marks that anything passes: it is not about what a random model learns.
QUICK = ("gate.accuracy=0", "gate.voice=0", "gate.retries=0", "sft.epochs=1", "eval.max_tokens=4")
SETTINGS = (*QUICK, "adapter.rank=4", "eval.resamples=200", "handoff=stack")


@contextmanager
def until_a_topic_ends() -> Iterator[None]:
    """Ask the run to stop as soon as it has finished one more topic."""

    @contextmanager
    def listening(planned: object) -> Iterator[Listener]:
        def hear(event: Event) -> None:
            if event.kind == "topic-finished":
                signal.raise_signal(signal.SIGINT)

        yield hear

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(execute, "progress", listening)
        yield


def mindprint(*words: object) -> int:
    return run([str(word) for word in words])


def test_there_and_back_again(tmp_path: Path, open_session: OpenSession) -> None:
    model, out = tmp_path / "model", tmp_path / "run"
    make_tokenizer(make_model(model, "qwen2"))
    assert mindprint("init", tmp_path / "mine") == 0
    settings = [word for setting in SETTINGS for word in ("--set", setting)]
    words = ("--model", model, "--out", out, "--backend", "torch", "--device", "cpu")
    with until_a_topic_ends():
        assert mindprint("train", tmp_path / "mine" / "curriculum", *words, *settings) == 130
        assert mindprint("resume", out, "--backend", "mlx", "--device", "cpu") == 130
        assert read_json(out / "inputs.json")["backend"] == "mlx"
    assert mindprint("resume", out, "--backend", "torch", "--device", "cpu") == 0
    assert read_json(out / "inputs.json")["backend"] == "torch"

    result = read_json(out / "result.json")
    assert result["status"] == "finished"
    assert [topic["status"] for topic in result["topics"]] == ["passed"] * 3
    book = ledger.read(RunDir(out))
    made = {entry.topic: entry.backend for entry in book.entries}
    assert list(made.values()) == ["torch", "mlx", "torch"]

    acting = [entry.name for entry in book.acting()]
    assert len(acting) == 3
    batch = random_batch(np.random.default_rng(3))
    logits = []
    for backend in ("torch", "mlx"):
        session = open_session(backend, model)
        bare = session.logits(batch)
        assert list(ledger.attach(session, RunDir(out))) == acting
        logits.append(session.logits(batch))
        assert np.abs(logits[-1] - bare).max() > 1e-3, "nothing acts"
    real = np.arange(batch.ids.shape[1]) < batch.lengths[:, None]
    # Two frameworks sum 48 products in their own order: 1e-4 of logits of size 1 is float32's part.
    np.testing.assert_allclose(logits[0][real], logits[1][real], rtol=1e-4, atol=1e-4)


# Every stage stays, so that all of them are compared.
KEPT = ("dpo.when=always", "gate.rollback=false")
MEASURED = (*QUICK, *KEPT, "sft.epochs=2", "adapter.rank=4")
WAYS = {
    "mlx-torch": ("mlx", "torch", 2, "handoff=stack"),
    "torch-mlx": ("torch", "mlx", 1, "handoff=merge"),
}


def stopping(topics: int) -> tuple[Callable[[Event, Session], None], Callable[[], bool]]:
    """What hears a run, and the wish to stop once so many topics are finished."""
    finished: list[str] = []

    def hear(event: Event, session: Session) -> None:
        if event.kind == "topic-finished":
            finished.append(event.topic)

    return hear, lambda: len(finished) >= topics


def losses(folder: Path) -> NDArray[np.float64]:
    lines = (folder / "metrics.jsonl").read_text("utf-8").splitlines()
    return np.array([json.loads(line)["loss"] for line in lines])


def check_alike(changed: Path, stayed: Path, stage: str, folders: Sequence[str]) -> None:
    """One stage of two runs, within the bars of parity: 1e-5 of SFT's loss, 1e-4 of DPO's or of
    0.1, and what the stage changed in the weights within 1e-3 of it. `folders`: the stage's, and
    that of the adapter that it trained on; what was in it before is no part of the change."""
    found, wanted = (losses(run / folders[0]) for run in (changed, stayed))
    assert found.shape == wanted.shape
    floor, bar = (0.0, 1e-5) if stage == "sft" else (0.1, 1e-4)
    assert (np.abs(found - wanted) / np.maximum(wanted, floor)).max() < bar
    theirs, held = ([peft_files.read(run / one) for one in folders] for run in (changed, stayed))
    signs = [1.0, -1.0][: len(folders)]
    update = norm(concatenated(held, signs))
    apart = norm(concatenated([*held, *theirs], [*signs, *(-sign for sign in signs)]))
    assert apart < 1e-3 * update, f"{stage}: {apart / update:.2g} of its update"


def overdone(after: Path, before: Path) -> None:
    """A stage's change of B made larger by a hundredth."""
    (spec, ended), (_, began) = peft_files.read(after), peft_files.read(before)
    made = {
        name: array + (array - began[name]) * np.float32(0.01 * name.endswith("_B"))
        for name, array in ended.items()
    }
    peft_files.write(after, spec, made, base="x", linears=lora.paths_of(made))


@pytest.mark.parametrize("way", WAYS)
def test_a_changed_run_ends_as_one_that_stayed(
    tmp_path: Path, model_of: ModelFolder, way: str
) -> None:
    """Topics on one backend, then as many on the other, against all of them on that other."""
    first, then, half, own = WAYS[way]
    model = make_tokenizer(model_of("qwen2", initializer_range=0.03))
    changed, stayed, teach = tmp_path / "changed", tmp_path / "stayed", curriculum(2 * half, rows=4)
    wanted = make_run(stayed, model, then, *MEASURED, own, teach=teach).result
    listen, stop = stopping(half)
    with pytest.raises(Interrupted):
        make_run(changed, model, first, *MEASURED, own, teach=teach, listen=listen, stop=stop)
    result = make_run(changed, model, then, *MEASURED, own, teach=teach).result

    assert result is not None and wanted is not None
    assert [(topic.id, topic.status, topic.verdict) for topic in result.topics] == [
        (topic.id, topic.status, topic.verdict) for topic in wanted.topics
    ]
    book, whole = (ledger.read(RunDir(path)).entries for path in (changed, stayed))
    assert [(one.name, one.accepted, one.verdict) for one in book] == [
        (one.name, one.accepted, one.verdict) for one in whole
    ]
    made = {one.topic: one.backend for one in book}
    assert list(made.values()) == [first] * half + [then] * half
    later = [one for one in book if one.backend == then]
    assert {one.stage for one in later} == {"sft", "dpo"}
    place = {one.name: one.folder for one in book}
    assert [one.stage for one in book if one.replaces] == ["dpo"] * (2 * half)
    for one in book:
        trained = [one.folder, *([place[one.replaces]] if one.replaces else [])]
        check_alike(changed, stayed, one.stage, trained)
    assert one.stage == "dpo", "the last stage's part of its adapter is small, and is seen"
    overdone(*(changed / folder for folder in trained))
    with pytest.raises(AssertionError, match=r"^dpo: .* of its update"):
        check_alike(changed, stayed, one.stage, trained)

"""A run that changes its backend at a topic's boundary, and back again, is one run."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from mindprint import ledger
from mindprint.cli import execute
from mindprint.cli.app import run
from mindprint.disk.sealed import read_json
from mindprint.events import Event, Listener
from mindprint.rundir import RunDir
from tests.conformance.conftest import OpenSession
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

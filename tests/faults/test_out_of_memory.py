"""A device that runs out of memory in the middle of a stage: told, saved, and gone on from."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from backends.contract import Batch
from backends.errors import OutOfMemory
from tests.cli.conftest import Mindprint
from tests.faults.alike import EXACT, bytes_that_differ, results_that_differ
from tests.faults.conftest import Trained, Undisturbed
from tests.faults.kills import DONE

FULL_FROM = 5
"""The batch that no longer fits, counted from 1: the second of the second window."""

STILL = "adapter.dropout=0.0"
"""What is dropped is drawn for a batch of a given shape: smaller pieces would draw other masks."""


def curves(run: Path) -> list[list[float]]:
    """The losses of every stage."""
    tree = json.loads((run / "result.json").read_text("utf-8"))
    stages = [stage for topic in tree["topics"] for stage in topic["stages"]]
    return [[loss for _, loss in stage["curve"]] for stage in stages]


def full_from(patch: pytest.MonkeyPatch, backend: str, batch: int) -> None:
    """From the given batch on, counted from 1, no more than one row (or pair) fits."""
    learner = importlib.import_module(f"backends.{backend}.learner")
    kind: Any = getattr(learner, f"{backend.capitalize()}Learner")
    real, seen = kind.accumulate, []

    def accumulate(self: object, rows: Batch, window: object) -> object:
        seen.append(rows)
        size = len(rows.ids) // (2 if rows.pairs else 1)
        if len(seen) >= batch and size > 1:
            raise OutOfMemory(f"no room for {size} rows")
        return real(self, rows, window)

    patch.setattr(kind, "accumulate", accumulate)


def test_stop_saves_and_says_how_to_go_on(
    tmp_path: Path,
    backend: str,
    train: Trained,
    mindprint: Mindprint,
    undisturbed: Undisturbed,
) -> None:
    out = tmp_path / "run"
    with pytest.MonkeyPatch.context() as patch:
        full_from(patch, backend, FULL_FROM)
        said = train(out, backend, STILL)
        assert said.code not in DONE and "Traceback" not in said.err
        assert "out of memory" in said.error and "sft.max_tokens" in said.error
        assert "run.on_oom=shrink" in said.error
        saved = [path for path in (out / "checkpoints").iterdir() if path.is_dir()]
        assert saved, "the finished steps were not saved"
        again = mindprint("resume", out)
        assert again.code not in DONE, "a resume with nothing changed runs out again"
        shrunk = mindprint("resume", out, "--set", "run.on_oom=shrink")
    assert shrunk.code in DONE, shrunk.err
    assert "out of memory" in shrunk.err
    alike(curves(undisturbed(backend, STILL)), curves(out))


def test_shrink_keeps_the_effective_batch(
    tmp_path: Path, backend: str, train: Trained, undisturbed: Undisturbed
) -> None:
    out = tmp_path / "run"
    with pytest.MonkeyPatch.context() as patch:
        full_from(patch, backend, FULL_FROM)
        said = train(out, backend, "run.on_oom=shrink", STILL)
    assert said.code in DONE, said.err
    assert "out of memory" in said.err
    alike(curves(undisturbed(backend, STILL)), curves(out))


def alike(one: list[list[float]], other: list[list[float]]) -> None:
    """The same windows in smaller pieces: only the order of float32 sums differs."""
    assert [len(losses) for losses in one] == [len(losses) for losses in other]
    for mine, theirs in zip(one, other, strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-3)


def test_a_room_that_comes_back_changes_nothing(
    tmp_path: Path,
    backend: str,
    train: Trained,
    mindprint: Mindprint,
    undisturbed: Undisturbed,
) -> None:
    """Another program held the memory: once it is gone, a plain resume ends where the undisturbed
    run ended, to the byte, with dropout: the window that was cut short draws its masks again."""
    out = tmp_path / "run"
    with pytest.MonkeyPatch.context() as patch:
        full_from(patch, backend, FULL_FROM)
        assert train(out, backend).code not in DONE
    assert mindprint("resume", out).code in DONE
    assert bytes_that_differ(undisturbed(backend), out, EXACT) == []
    assert results_that_differ(undisturbed(backend), out) == []

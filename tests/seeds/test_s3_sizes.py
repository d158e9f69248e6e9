"""S3: sizes guessed by name, two rules of padding, memory that grew."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from backends.contract import AdapterSpec, Batch, Objective, OptimizerSpec
from mindprint.config import resolve
from mindprint.events import Event
from mindprint.plan import Plan, make_plan
from mindprint.report.words import parameters
from mindprint.tokens import batches
from mindprint.tokens.batches import pad
from mindprint.tokens.render import Renderer, Row
from tests.conformance.conftest import OpenSession
from tests.runs import QUICK, curriculum, make_run
from tests.tiny import LENGTHS, VOCABULARY, window_of

LEAK = 40 * 2**20


def planned(folder: Path) -> Plan:
    config = resolve(None, [*QUICK], model__path=str(folder)).config
    return make_plan(curriculum(1), config, Renderer.open(folder))


@pytest.mark.parametrize("name", ["llama-7b", "zorblax-x1", "gpt2-70b-of-mine"])
def test_sizes_are_the_files_own_whatever_the_folder_is_called(
    tmp_path: Path, open_session: OpenSession, backend: str, model: Path, name: str
) -> None:
    """The table lacked the model, guessed 7 B, and matched shorter names first."""
    folder = shutil.copytree(model, tmp_path / name)
    plan, session = planned(folder), open_session(backend, folder)
    assert plan.footprint is not None
    assert plan.footprint.parameters == session.info.parameters
    (line,) = [note for what, _, note in plan.lines() if what == "adapter"]
    assert f"a model of {parameters(session.info.parameters)} parameters" in line
    assert plan.footprint == planned(model).footprint


def rows_of(rng: np.random.Generator) -> list[Row]:
    rows = []
    for length in LENGTHS:
        prompt = int(rng.integers(1, length))
        ids = tuple(int(token) for token in rng.integers(3, VOCABULARY, size=length))
        mask = tuple(place >= prompt for place in range(length))
        rows.append(Row(ids=ids, mask=mask, cut=False))
    return rows


def test_a_wider_batch_trains_the_same(
    open_session: OpenSession, backend: str, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One part padded to the most there is, another to the longest of the batch."""
    session = open_session(backend, model)
    session.adapters.add(AdapterSpec(rank=2), "one")
    rng = np.random.default_rng(3)
    session.learner(Objective("sft"), OptimizerSpec()).assign(
        {
            name: rng.normal(0, 0.1, shape).astype(np.float32)
            for name, shape in session.adapters.trainable().items()
        }
    )
    rows = rows_of(rng)
    learner = session.learner(Objective("sft"), OptimizerSpec())
    narrow = pad(rows)
    monkeypatch.setattr(batches, "WIDTH_STEP", 64)
    wide = pad(rows)
    assert (narrow.ids.shape[1], wide.ids.shape[1]) == (24, 64)
    # Another shape sums in another order: 1e-5 of the largest is some 80 float32 steps.
    loss, gradients = learner.gradients(narrow, window_of(narrow))
    other, others = learner.gradients(wide, window_of(wide))
    assert other == pytest.approx(loss, rel=1e-5)
    scale = max(float(np.abs(array).max()) for array in gradients.values())
    assert scale > 0
    for name, array in gradients.items():
        assert np.abs(array - others[name]).max() <= 1e-5 * scale, name
    apart = session.logprobs(narrow).rows - session.logprobs(wide).rows
    assert np.abs(apart).max() <= 1e-5 * np.abs(session.logprobs(narrow).rows).max()


def test_a_mask_that_touches_padding_is_refused() -> None:
    batch = pad(rows_of(np.random.default_rng(3)))
    touched = batch.mask.copy()
    short = int(np.argmin(batch.lengths))
    touched[short, batch.lengths[short]] = True
    with pytest.raises(ValueError, match="padding"):
        Batch(ids=batch.ids, lengths=batch.lengths, mask=touched)


def test_a_row_without_tokens_enters_no_batch() -> None:
    """Mean pooling divided by zero on a row that was padding alone."""
    batch = pad(rows_of(np.random.default_rng(3)))
    with pytest.raises(ValueError, match="no trained token"):
        Batch(ids=batch.ids, lengths=batch.lengths, mask=np.zeros_like(batch.mask))
    with pytest.raises(ValueError, match="2 to `width` tokens"):
        Batch(ids=batch.ids, lengths=np.zeros_like(batch.lengths), mask=batch.mask)


def test_memory_that_grows_over_topics_is_said(tmp_path: Path, backend: str, model: Path) -> None:
    """A cache grew over epochs: here a listener keeps 40 MB a topic, or a tenth of the process.
    That a sound run says nothing is seen in `tests/conformance/test_growth.py`."""
    kept: list[np.ndarray[Any, Any]] = []
    leak = max(LEAK, psutil.Process().memory_info().rss // 10)  # growth is judged by share

    def listen(event: Event, session: Any) -> None:
        if event.kind == "stage-started":
            kept.append(np.ones(leak // 8))  # ones, so that every page is really there

    settings = ("sft.epochs=1", "dpo.when=never", "eval.max_tokens=4", "gate.rollback=false")
    made = make_run(
        tmp_path / "run", model, backend, *settings, teach=curriculum(6, rows=2), listen=listen
    )
    assert "memory has grown from" in made.notices()
    assert "after `unit/chapter/topic-1` to" in made.notices()
    assert made.result is not None
    assert [one.stage for one in made.result.memory] == [
        f"unit/chapter/topic-{number} sft" for number in range(6)
    ]

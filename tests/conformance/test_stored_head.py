"""A config that ties the output head, over files that store one all the same."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from backends.contract import Session
from tests.conformance.conftest import ModelFolder, OpenSession
from tests.conformance.oracle import plain_logits
from tests.conformance.trained import attach, distance, real
from tests.tiny import FAMILIES, random_batch

FILE = "model.safetensors"


@pytest.fixture(params=FAMILIES)
def tied(model_of: ModelFolder, request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    folder = model_of(str(request.param), tie_word_embeddings=True)
    shutil.copytree(folder, tmp_path / "model")
    return tmp_path / "model"


def store_head(folder: Path, *, equal: bool) -> None:
    tensors = load_file(folder / FILE)
    head = tensors["model.embed_tokens.weight"].copy()
    if not equal:
        head += 0.1 * np.random.default_rng(5).standard_normal(head.shape).astype(np.float32)
    save_file({**tensors, "lm_head.weight": head}, folder / FILE, metadata={"format": "pt"})


def _logits(session: Session) -> np.ndarray:
    batch = random_batch(np.random.default_rng(91))
    return real(batch, session.logits(batch))


def test_an_equal_head_is_the_embedding(
    open_session: OpenSession, tied: Path, backend: str
) -> None:
    before = open_session(backend, tied)
    store_head(tied, equal=True)
    session = open_session(backend, tied)
    assert session.info.tied
    assert session.info.parameters == before.info.parameters
    assert np.array_equal(_logits(session), _logits(before))


def test_another_head_is_the_models_own(
    open_session: OpenSession, tied: Path, backend: str
) -> None:
    """transformers 5 does not tie what differs, whatever the config says."""
    batch = random_batch(np.random.default_rng(91))
    before = _logits(open_session(backend, tied))
    store_head(tied, equal=False)
    session = open_session(backend, tied)
    wanted = real(batch, plain_logits(tied, batch))
    assert distance(wanted, before) > 0.1
    assert distance(_logits(session), wanted) < 1e-5  # as in test_traps
    assert not session.info.tied
    assert "lm_head.weight" in session.adapters.base_fingerprint()
    attach(session, "topic", seed=92)
    assert not any("lm_head" in name for name in session.adapters.trainable())
    assert session.adapters.merge_and_unload().lost < 1e-3

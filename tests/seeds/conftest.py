"""Known failures, kept dead: each test breaks the thing first, then sees the check speak."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conformance.conftest import ModelFolder, backend, model_of, open_session
from tests.tiny import make_tokenizer

__all__ = ["backend", "model", "model_of", "open_session"]


@pytest.fixture(scope="module")
def model(model_of: ModelFolder) -> Path:
    """A tiny Llama that can speak: with a tokenizer and a chat template."""
    return make_tokenizer(model_of("llama", max_position_embeddings=256))

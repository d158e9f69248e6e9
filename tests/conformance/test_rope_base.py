"""A rope base that no loader would guess: the same logits from both backends, plain transformers
and plain mlx-lm, in transformers 5's spelling, the older one, and both."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from backends.contract import Batch
from tests.conformance import plain_mlx_lm
from tests.conformance.conftest import BACKENDS, OpenSession
from tests.conformance.oracle import plain_logits
from tests.conformance.plain_mlx_lm import SHORT, exact, spelled_both_ways
from tests.conformance.trained import distance, real
from tests.tiny import make_model, make_tokenizer, random_batch

NEAR = 1e-5
"""Float32 in two frameworks, two layers, logits to about 6: up to 4e-6 was measured."""
ELSEWHERE = 1e-3
BASE: dict[str, Any] = {"rope_type": "default", "rope_theta": 700.0}
TWO_BASES = {
    "full_attention": {"rope_type": "default", "rope_theta": 900.0},
    "sliding_attention": {"rope_type": "default", "rope_theta": 150.0},
}
READS_BOTH = ("qwen3",)
"""Families in which mlx-lm 0.32 reads transformers 5's spelling."""


def saved(folder: Path, family: str) -> Path:
    """As transformers 5 saves it, with a tokenizer beside it."""
    rope = TWO_BASES if family == "gemma3_text" else BASE
    make_model(folder, family, rope_parameters=rope, **exact(family))
    config = json.loads((folder / "config.json").read_text("utf-8"))
    assert "rope_theta" not in config and "rope_parameters" in config
    return make_tokenizer(folder)


def in_the_old_spelling(folder: Path) -> Path:
    spelled_both_ways(folder)
    file = folder / "config.json"
    config = json.loads(file.read_text("utf-8"))
    del config["rope_parameters"]
    file.write_text(json.dumps(config), "utf-8")
    return folder


def batch() -> Batch:
    return random_batch(np.random.default_rng(77), SHORT)


def as_saved(folder: Path) -> Path:
    return folder


SPELLINGS = {"new": as_saved, "both": spelled_both_ways, "old": in_the_old_spelling}


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_every_spelling_is_one_model(
    open_session: OpenSession, tmp_path: Path, family: str, spelling: str
) -> None:
    folder = saved(tmp_path, family)
    wanted = real(batch(), plain_logits(folder, batch()))
    SPELLINGS[spelling](folder)
    assert np.array_equal(real(batch(), plain_logits(folder, batch())), wanted)
    for backend in BACKENDS:
        session = open_session(backend, folder)
        assert distance(real(batch(), session.logits(batch())), wanted) < NEAR
    if spelling != "new" or family in READS_BOTH:
        assert distance(plain_mlx_lm.logits(folder, batch()), wanted) < NEAR


def test_the_base_matters_and_mlx_lm_misses_it(tmp_path: Path, family: str) -> None:
    """Why exports spell it both ways: alone, transformers 5's spelling is not seen."""
    folder = saved(tmp_path / "right", family)
    wanted = real(batch(), plain_logits(folder, batch()))
    usual = make_model(tmp_path / "usual", family, **exact(family))
    assert distance(real(batch(), plain_logits(usual, batch())), wanted) > ELSEWHERE
    if family not in READS_BOTH:
        assert distance(plain_mlx_lm.logits(folder, batch()), wanted) > ELSEWHERE


def test_a_bases_two_kinds_of_layers(open_session: OpenSession, tmp_path: Path) -> None:
    """Gemma 3's bases are not to be had for each other."""
    folder = saved(tmp_path / "right", "gemma3_text")
    swapped = dict(zip(TWO_BASES, reversed(TWO_BASES.values()), strict=True))
    make_model(tmp_path / "swapped", "gemma3_text", rope_parameters=swapped, **exact("gemma3_text"))
    for backend in BACKENDS:
        right, wrong = (
            open_session(backend, path).logits(batch()) for path in (folder, tmp_path / "swapped")
        )
        assert distance(right, wrong) > ELSEWHERE

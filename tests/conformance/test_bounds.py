"""What a model has no row for, or no frequencies, is refused: MLX would read past the embedding
and train on what lies there, and a batch's longest row would change its neighbours' rotations."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from backends.contract import Batch, GenerateSpec, Objective, OptimizerSpec, Session
from backends.errors import ModelError
from tests.conformance.conftest import ModelFolder, OpenSession
from tests.conformance.oracle import plain_logits
from tests.conformance.trained import SPEC, distance, real
from tests.tiny import VOCABULARY, pack, random_batch, window_of

GREEDY = GenerateSpec(max_tokens=2, stop_ids=())


def with_id(batch: Batch, place: tuple[int, int], token: int) -> Batch:
    ids = batch.ids.copy()
    ids[place] = token
    return replace(batch, ids=ids)


def _learn(session: Session, batch: Batch) -> object:
    return session.learner(Objective("sft"), OptimizerSpec()).accumulate(batch, window_of(batch))


def _gradients(session: Session, batch: Batch) -> object:
    return session.learner(Objective("sft"), OptimizerSpec()).gradients(batch, window_of(batch))


FED: dict[str, Callable[[Session, Batch], object]] = {
    "logprobs": lambda session, batch: session.logprobs(batch),
    "logits": lambda session, batch: session.logits(batch),
    "accumulate": _learn,
    "gradients": _gradients,
    "generate": lambda session, batch: session.generate(batch.ids.tolist(), GREEDY),
}


@pytest.mark.parametrize("family", ["llama", "gemma3_text"])
@pytest.mark.parametrize("way", FED)
def test_ids_beyond_the_vocabulary_are_refused(session: Session, way: str) -> None:
    session.adapters.add(SPEC, "topic")
    batch = random_batch(np.random.default_rng(81))
    FED[way](session, with_id(batch, (3, 5), VOCABULARY - 1))
    # (1, 20) is padding, whose embedding is looked up as well.
    for place, token in (((3, 5), VOCABULARY), ((0, 0), 5000), ((2, 4), -1), ((1, 20), VOCABULARY)):
        said = f"token id {token} is beyond the model's vocabulary of {VOCABULARY}"
        with pytest.raises(ModelError, match=said) as found:
            FED[way](session, with_id(batch, place, token))
        assert "tokenizer" in found.value.hint
    assert session.adapters.parameters().keys() == session.adapters.trainable().keys()


LIMIT = 24
LONG: dict[str, tuple[str, dict[str, Any]]] = {
    "longrope": (
        "phi3",
        {
            "rope_parameters": {
                "rope_type": "longrope",
                "rope_theta": 700.0,
                "short_factor": [1.0 + 0.1 * i for i in range(6)],
                "long_factor": [4.0] * 6,
                "factor": 4.0,
            },
            "original_max_position_embeddings": LIMIT,
        },
    ),
    "dynamic": (
        "llama",
        {
            "rope_parameters": {"rope_type": "dynamic", "rope_theta": 700.0, "factor": 2.0},
            "max_position_embeddings": LIMIT,
        },
    ),
}


@pytest.fixture(params=LONG)
def stretched(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    return LONG[request.param]


def _rows(*lengths: int, width: int | None = None) -> Batch:
    rng = np.random.default_rng(82)
    return pack(
        [rng.integers(3, VOCABULARY, size=n) for n in lengths], [1] * len(lengths), width=width
    )


def test_the_trap_is_there(model_of: ModelFolder, stretched: tuple[str, dict[str, Any]]) -> None:
    """transformers: the same row's logits differ by the row beside it."""
    folder = model_of(stretched[0], **stretched[1])
    short, beside = _rows(10), _rows(10, LIMIT + 16)
    assert np.array_equal(short.ids[0], beside.ids[0, :10])
    moved = distance(plain_logits(folder, short)[0], plain_logits(folder, beside)[0, :10])
    assert moved > 1e-2


def test_rows_past_the_limit_are_refused(
    open_session: OpenSession,
    model_of: ModelFolder,
    backend: str,
    stretched: tuple[str, dict[str, Any]],
) -> None:
    folder = model_of(stretched[0], **stretched[1])
    said = f"frequencies change past {LIMIT} tokens, and rows of {LIMIT + 1}"
    with pytest.raises(ModelError, match=said) as found:
        open_session(backend, folder, longest_row=LIMIT + 1)
    assert found.value.where.endswith("config.json")
    assert "--backend" not in found.value.hint
    session = open_session(backend, folder, longest_row=LIMIT)
    session.adapters.add(SPEC, "topic")
    for way in ("logprobs", "logits", "accumulate", "gradients"):
        with pytest.raises(ModelError, match=said):
            FED[way](session, _rows(10, LIMIT + 1))
    prompt = _rows(LIMIT - 4).ids[0].tolist()
    assert len(session.generate([prompt], replace(GREEDY, max_tokens=4))[0].ids) == 4
    with pytest.raises(ModelError, match=said):
        session.generate([[5], prompt], replace(GREEDY, max_tokens=5))


def test_rows_within_the_limit_are_transformers(
    open_session: OpenSession,
    model_of: ModelFolder,
    backend: str,
    stretched: tuple[str, dict[str, Any]],
) -> None:
    folder = model_of(stretched[0], **stretched[1])
    session = open_session(backend, folder, longest_row=LIMIT)
    batch = _rows(10, LIMIT, 2)
    wanted = real(batch, plain_logits(folder, batch))
    assert distance(real(batch, session.logits(batch)), wanted) < 1e-5  # as in test_traps
    # Padded past the limit, since widths are rounded up: no real token stands there.
    wide = _rows(10, LIMIT, 2, width=32)
    assert distance(real(wide, session.logits(wide)), wanted) < 1e-5
    assert distance(session.logprobs(wide).rows, session.logprobs(batch).rows) < 1e-4

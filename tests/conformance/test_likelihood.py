"""Losses of references and the chance of an empty answer, against sums over the model's logits."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from backends import get
from backends.contract import Batch, GenerateSpec, ModelSpec
from mindprint.evals.likelihood import weigh
from mindprint.tokens.lessons import question
from mindprint.tokens.render import Renderer
from tests.conformance.conftest import ModelFolder
from tests.runs import curriculum
from tests.tiny import make_tokenizer


@pytest.fixture(scope="module")
def model(model_of: ModelFolder) -> Path:
    return make_tokenizer(model_of("qwen2", initializer_range=0.02))


def test_losses_and_first_stops_are_those_of_the_logits(backend: str, model: Path) -> None:
    items = curriculum(1).topics[0].quiz
    renderer = Renderer.open(model)
    session = get(backend).open(ModelSpec(str(model), dtype="float32", device="cpu"))
    losses = [one.loss for one in weigh(session, renderer, "You keep.", items)]
    prompts = [renderer.prompt(question("You keep.", item.question)) for item in items]
    made = session.generate(prompts, GenerateSpec(max_tokens=2, stop_ids=renderer.stop_ids))
    for item, loss, answer in zip(items, losses, made, strict=True):
        prompt = question("You keep.", item.question)
        row = renderer.completion(prompt, item.reference, 1 << 30)
        ids = np.array([row.ids], dtype=np.int32)
        mask = np.array([row.mask])
        batch = Batch(ids, np.array([len(row.ids)], dtype=np.int32), mask)
        logits = session.logits(batch)[0].astype(np.float64)
        logp = logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True))
        places = np.flatnonzero(mask[0])
        expected = -np.mean([logp[place - 1, row.ids[place]] for place in places])
        # float32 sums over a few tokens against float64
        assert loss == pytest.approx(expected, abs=1e-4)
        asked = len(renderer.prompt(prompt))
        assert answer.first_stop == pytest.approx(
            np.exp(logp[asked - 1, renderer.stop_ids[0]]), rel=1e-4
        )
    session.close()

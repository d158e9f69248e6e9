"""Memory does not creep: a long run of short topics ends where its second topic stood."""

from __future__ import annotations

import gc
from dataclasses import replace
from math import prod
from pathlib import Path

import pytest

from backends.contract import Session
from mindprint.curriculum.records import Curriculum
from mindprint.events import Event
from tests.conformance.conftest import ModelFolder
from tests.runs import curriculum, make_run
from tests.tiny import make_tokenizer

TOPICS = 20
SHORT = (
    "adapter.rank=1",
    "sft.epochs=1",
    "dpo.when=never",
    "eval.max_tokens=4",
    "eval.retention=off",
    "gate.rollback=false",
)
COPIES = {"stack": 2, "merge": 1}
"""How often MLX holds a past adapter: as it was trained, and joined with the rest of a stack."""


@pytest.fixture(scope="module")
def model(model_of: ModelFolder) -> Path:
    """As large as 265 of its adapters: one adapter kept a topic would be 18 of them, 5 % of the
    model are 13, and the slack of MLX's buffers, which fits small arrays into what it has, came
    to 4."""
    sizes = {"hidden_size": 192, "vocab_size": 2000, "max_position_embeddings": 256}
    return make_tokenizer(model_of("llama", **sizes))


def short_topics() -> Curriculum:
    author = curriculum(TOPICS, rows=2)
    topics = tuple(replace(topic, quiz=topic.quiz[:2], preferences=()) for topic in author.topics)
    return replace(author, topics=topics)


@pytest.mark.parametrize("handoff", ["stack", "merge"])
def test_twenty_topics_end_with_the_memory_of_the_second(
    tmp_path: Path, backend: str, model: Path, handoff: str
) -> None:
    rss: list[int] = []
    device: list[int] = []
    adapters: list[int] = []

    def listen(event: Event, session: Session) -> None:
        if event.kind == "memory":
            gc.collect()
            found = session.memory()
            shapes = session.adapters.trainable().values()
            adapters.append(4 * sum(map(prod, shapes)))
            past = COPIES[handoff] * sum(adapters[:-1])
            rss.append(found.rss)
            device.append(found.device - past)

    settings = (*SHORT, f"handoff={handoff}")
    made = make_run(
        tmp_path / "run", model, backend, *settings, teach=short_topics(), listen=listen
    )
    assert len(rss) == TOPICS
    assert rss[-1] <= 1.05 * rss[1]
    assert (device[-1] > 0) == (backend == "mlx")
    assert device[-1] <= 1.05 * device[1]
    assert "memory has grown" not in made.notices()
    footprint = made.plan.footprint
    assert footprint is not None
    written = sum(file.stat().st_size for file in made.path.rglob("*") if file.is_file())
    # Files of text are reckoned by the question, roughly.
    assert footprint.sure / 3 < written < 3 * footprint.most

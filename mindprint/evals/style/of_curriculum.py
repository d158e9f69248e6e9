"""The voice scale as a curriculum and its settings make it."""

from __future__ import annotations

from collections.abc import Sequence

from mindprint.config import Config
from mindprint.curriculum.records import Curriculum
from mindprint.curriculum.trained import trained_texts
from mindprint.evals.prompts import open_prompts, topic_terms
from mindprint.evals.style.instrument import Instrument


def instrument_of(curriculum: Curriculum, config: Config, base: Sequence[str]) -> Instrument:
    """The scale on which `base`, answers to the open prompts, is 0 and the author is 1. Raises
    ConfigError for an embedder that cannot be used."""
    topics = curriculum.topics
    return Instrument(
        open_prompts(curriculum, config.eval.prompts) or curriculum.voice.answers,
        base,
        curriculum.voice,
        trained=tuple(text for topic in topics for text in trained_texts(topic)),
        topic_terms=topic_terms(topics),
        seed=config.run.seed,
        resamples=config.eval.resamples,
        embedder=config.eval.embedder,
    )

"""200 perfect authors and 200 perfect bases before the gate."""

from __future__ import annotations

import numpy as np

from mindprint.config import GateSection
from mindprint.evals.style.instrument import Instrument
from mindprint.gate import passes
from mindprint.report.scores import Score
from tests.unit.style.speech import Chain, demo, held_out, plain

AUTHORS = 200


def passed(voice: float) -> bool:
    """Whether the gate lets a model of this voice pass that knows everything."""
    return passes(Score(accuracy=1, voice=voice, degenerate=0, questions=12), GateSection())


def test_the_gate_fails_hardly_any_perfect_author_and_passes_hardly_any_base() -> None:
    """Author, model and base are drawn anew 200 times, each answer on its own: a model that speaks
    from the author's own word pairs is perfect, one that speaks from the base's is the base."""
    voice = demo().voice
    author = Chain([*(held.answer for held in voice.answers), *(d.text for d in voice.writing)])
    base = Chain(plain(200))
    rng = np.random.default_rng(7)
    failed_authors, passed_bases = 0, 0
    for seed in range(AUTHORS):
        held = held_out(author.answers(rng, 44))
        made = Instrument(
            held, base.answers(rng, 44), voice, seed=seed, resamples=200, splits=2, impostors=()
        )
        assert made.measurable, made.because
        failed_authors += not passed(made.read(author.answers(rng, 44)).value)
        passed_bases += passed(made.read(base.answers(rng, 44)).value)
    assert failed_authors / AUTHORS < 0.05
    assert passed_bases / AUTHORS < 0.05

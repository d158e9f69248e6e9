"""120 perfect authors and as many perfect bases before the gate."""

from __future__ import annotations

import numpy as np

from mindprint.config import GateSection
from mindprint.evals.style.instrument import Instrument
from mindprint.gate import passes
from mindprint.report.scores import Score
from tests.unit.style.speech import Chain, demo, held_out, plain

AUTHORS = 120


def passed(voice: float) -> bool:
    """Whether the gate lets a model of this voice pass that knows everything."""
    return passes(Score(accuracy=1, voice=voice, degenerate=0, questions=12), GateSection())


def readings(authors: int, resamples: int, splits: int) -> tuple[list[float], list[float]]:
    """Voices of perfect authors and of perfect bases, everything drawn anew for each of them."""
    voice = demo().voice
    author = Chain([*(held.answer for held in voice.answers), *(d.text for d in voice.writing)])
    base = Chain(plain(200))
    rng = np.random.default_rng(7)
    perfect, untrained = [], []
    for seed in range(authors):
        made = Instrument(
            held_out(author.answers(rng, 44)),
            base.answers(rng, 44),
            voice,
            seed=seed,
            resamples=resamples,
            splits=splits,
            impostors=(),
        )
        assert made.measurable, made.because
        perfect.append(made.read(author.answers(rng, 44)).value)
        untrained.append(made.read(base.answers(rng, 44)).value)
    return perfect, untrained


def test_the_gate_fails_hardly_any_perfect_author_and_passes_hardly_any_base() -> None:
    """Author, model and base are drawn anew 120 times, each answer on its own: a model that speaks
    from the author's own word pairs is perfect, one that speaks from the base's is the base."""
    # Two halvings where a run takes 16: chance has more room here, not less.
    perfect, untrained = readings(AUTHORS, resamples=200, splits=2)
    assert sum(not passed(voice) for voice in perfect) / AUTHORS < 0.05
    assert sum(passed(voice) for voice in untrained) / AUTHORS < 0.05
    # A perfect author reads a little below 1: clipping takes luck away and leaves bad luck.
    assert 0.93 < np.mean(perfect) < 1

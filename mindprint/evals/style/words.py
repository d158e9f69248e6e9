"""Over- and under-used words: what a reader would hear first."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

from mindprint.evals.style.tokens import spoken
from mindprint.report.voice import WordUse

LEAST_Z = 1.0
SHOWN = 10


def word_use(
    said: Sequence[str], author: Sequence[str], background: Sequence[str] = ()
) -> tuple[WordUse, ...]:
    """Up to ten words that `said` overuses against `author`, strongest first, then up to ten that
    it underuses, each with |z| of 1 or more.

    z: log-odds ratio with an informative Dirichlet prior over its standard error (Monroe, Colaresi
    and Quinn 2008, "Fightin' Words", equations 16 to 22). The prior is the counts of all the texts
    given, scaled to as many words as the shorter side has.
    """
    model, own = _counts(said), _counts(author)
    pooled = model + own + _counts(background)
    if not model or not own:
        return ()
    scale = min(model.total(), own.total()) / pooled.total()
    used = [
        WordUse(
            word=word, model=model[word], author=own[word], z=_z(model, own, pooled, scale, word)
        )
        for word in sorted(model | own)
    ]
    over = sorted((use for use in used if use.z >= LEAST_Z), key=lambda use: -use.z)
    under = sorted((use for use in used if use.z <= -LEAST_Z), key=lambda use: use.z)
    return (*over[:SHOWN], *under[:SHOWN])


def _z(
    model: Counter[str], own: Counter[str], pooled: Counter[str], scale: float, word: str
) -> float:
    prior, mass = scale * pooled[word], scale * pooled.total()
    ratio = _log_odds(model, word, prior, mass) - _log_odds(own, word, prior, mass)
    return ratio / math.sqrt(1 / (model[word] + prior) + 1 / (own[word] + prior))


def _log_odds(counts: Counter[str], word: str, prior: float, mass: float) -> float:
    with_prior = counts[word] + prior
    rest = counts.total() + mass - with_prior
    # A language of one word has no odds; any finite number says so.
    return math.log(with_prior / rest) if rest > 0 else 0.0


def _counts(texts: Sequence[str]) -> Counter[str]:
    return Counter(word for text in texts for word in spoken(text))

"""Answers that are no answers: empty, ended at once, looping to the limit, leaking special tokens,
one answer for many questions; and softer signs, shown beside an answer without striking it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import regex

from mindprint.evals.repetition import REP_4, compression, pieces, rep_4, tail_loops
from mindprint.evals.text import words

EMPTY = "empty"
ENDED = "ended at once"
LOOPS_ON = "loops to the limit"
LEAKS = "leaks special tokens"
SAME = "same answer"

HARD = frozenset({EMPTY, ENDED, LOOPS_ON, LEAKS, SAME})
"""Flags that score an answer 0."""

SHORT = "short"
LONG = "long"
REPEATS = "repeats"
COMPRESSIBLE = "compressible"
LIMIT = "ran to the limit"
LOOPS = "loops"

SHORT_SHARE = 0.1
"""Share of the reference's words below which an answer is short ..."""
LONG_TIMES = 5
"""... and multiple of them above which it is long."""

RATIO = 2.4
"""Compression ratio above which Whisper takes its own output for a failure (Radford et al. 2022,
arXiv 2212.04356)."""
FEWEST = 20
"""Pieces of the author's writing below which their 99th percentile says nothing."""
TOLERATED = 0.02
"""Share of broken answers that fails no stage."""
ALPHA = 0.05

# `<s>` and `</s>` are HTML in an author's text: they leak where the tokenizer has them.
_SPELT = regex.compile(
    r"<\|[\w.-]{1,40}\|>|<(?:bos|eos|pad|unk)>|<(?:start|end)_of_turn>|\[/?INST\]"
)


@dataclass(frozen=True)
class Flags:
    """Flags that strike an answer, and those that are only shown, each in a fixed order."""

    hard: tuple[str, ...] = ()
    soft: tuple[str, ...] = ()


@dataclass(frozen=True)
class Limits:
    """The rep-4 and the compression ratio above which an answer is flagged. `pieces`: how many of
    the author's stand behind them; 0 where they are constants."""

    rep_4: float = REP_4
    ratio: float = RATIO
    pieces: int = 0

    @classmethod
    def of(cls, texts: Sequence[str]) -> Limits:
        """The 99th percentiles over the author's held-out texts, cut into answer-sized pieces.

        A figure that fewer than FEWEST pieces are long enough for keeps its constant.
        """
        cut = [piece for text in texts for piece in pieces(text)]
        repeated = [share for piece in cut if (share := rep_4(piece)) is not None]
        ratios = [ratio for piece in cut if (ratio := compression(piece)) is not None]
        return cls(
            rep_4=_percentile(repeated, REP_4),
            ratio=_percentile(ratios, RATIO),
            pieces=len(cut) if max(len(repeated), len(ratios)) >= FEWEST else 0,
        )


def flags_of(
    text: str,
    raw: str,
    ids: Sequence[int],
    stop: str,
    special: Sequence[str] = (),
    reference_words: int = 0,
    limits: Limits = Limits(),
) -> Flags:
    """The flags of one answer; `same answer` takes a whole topic and is not among them.

    `text` is decoded without special tokens, `raw` with them; `ids` exclude the token that ended
    the answer; `stop` is "stop" or "length"; `special`: texts of the tokenizer's special tokens;
    `reference_words`: length of the reference, 0 where there is none.
    """
    looping, cut = loops(text, ids), stop == "length"
    hard = {
        EMPTY: not text.strip(),
        ENDED: not ids and stop == "stop",
        LOOPS_ON: cut and looping,
        LEAKS: bool(leaked(text, raw, special)),
    }
    spoken, repeated, ratio = len(words(text)), rep_4(text), compression(text)
    soft = {
        SHORT: bool(text.strip()) and spoken < SHORT_SHARE * reference_words,
        LONG: bool(reference_words) and spoken > LONG_TIMES * reference_words,
        REPEATS: repeated is not None and repeated > limits.rep_4,
        COMPRESSIBLE: ratio is not None and ratio > limits.ratio,
        LIMIT: cut and not looping,
        LOOPS: looping and not cut,
    }
    return Flags(_holding(hard), _holding(soft))


def fails(hard: Sequence[tuple[str, ...]], before: Sequence[tuple[str, ...]]) -> str:
    """Why a stage fails on degeneracy, in a sentence; "" when it does not.

    `hard`, `before`: the hard flags of each answer after the stage and before it. It fails when
    at least 2 answers are broken, their share exceeds what it was, and it lies above 2 % beyond
    chance: the exact one-sided binomial test gives p < 0.05.
    """
    broken, total = sum(map(bool, hard)), len(hard)
    earlier = sum(map(bool, before)) / len(before) if before else 0.0
    if broken < 2 or broken / total <= earlier:
        return ""
    from scipy.stats import binomtest

    p = float(binomtest(broken, total, TOLERATED, alternative="greater").pvalue)
    if p >= ALPHA:
        return ""
    counts = Counter(flag for flags in hard for flag in flags)
    named = ", ".join(f"{flag} {count}" for flag, count in counts.most_common())
    chance = "p < 0.001" if p < 0.001 else f"p = {p:.3f}"
    return (
        f"{broken} of {total} answers are broken ({named}), "
        f"more than {100 * TOLERATED:g} % beyond chance ({chance})"
    )


def loops(text: str, ids: Sequence[int] = ()) -> bool:
    """Whether the answer ends in a repeated n-gram, or repeats most of its word 4-grams."""
    repeated = rep_4(text)
    if repeated is not None and repeated > REP_4:
        return True
    return tail_loops(ids) or tail_loops(words(text))


def leaked(text: str, raw: str, special: Sequence[str] = ()) -> tuple[str, ...]:
    """The special tokens said within the answer, as tokens or spelt out."""
    named = [token for token in special if token and token in raw]
    named += [match.group() for match in _SPELT.finditer(raw) if match.group() not in named]
    if not named and raw != text:
        named.append("special tokens")
    return tuple(dict.fromkeys(named))


def _percentile(values: Sequence[float], fallback: float) -> float:
    return float(np.percentile(values, 99)) if len(values) >= FEWEST else fallback


def _holding(flags: dict[str, bool]) -> tuple[str, ...]:
    return tuple(name for name, holds in flags.items() if holds)

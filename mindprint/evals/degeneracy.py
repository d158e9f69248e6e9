"""Answers that are no answers: empty, ended at once, looping, leaking special tokens."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence

import regex

from mindprint.evals.text import ngrams, words

EMPTY = "empty"
ENDED = "ended at once"
LIMIT = "ran to the limit"
LOOPS = "loops"
LEAKS = "leaks special tokens"

HARD = frozenset({EMPTY, ENDED, LOOPS, LEAKS})
"""Flags that score an answer 0. `ran to the limit` alone does not: a long answer may be right."""

REPEATS = 3
"""A tail is a loop from this many repetitions on ..."""
TAIL_UNITS = 9
"""... if they hold this many tokens or words: shorter ones are emphasis ("no, no, no") ..."""
TAIL_SHARE = 1 / 3
"""... and this share of the answer."""
REP_4 = 0.5
"""Share of repeated word 4-grams (rep-4 of Welleck et al. 2020) that no honest answer reaches."""
REP_4_GRAMS = 12
"""Word 4-grams below which rep-4 says nothing."""

_SPELT = regex.compile(
    r"<\|[\w.-]{1,40}\|>|</?s>|<(?:bos|eos|pad|unk)>|<(?:start|end)_of_turn>|\[/?INST\]"
)


def flags_of(
    text: str, raw: str, ids: Sequence[int], stop: str, special: Sequence[str] = ()
) -> tuple[str, ...]:
    """The flags of an answer, in a fixed order.

    `text` is decoded without special tokens, `raw` with them; `ids` exclude the token that ended
    the answer; `stop` is "stop" or "length"; `special`: texts of the tokenizer's special tokens.
    """
    found = []
    if not text.strip():
        found.append(EMPTY)
    if not ids and stop == "stop":
        found.append(ENDED)
    if stop == "length":
        found.append(LIMIT)
    if loops(text, ids):
        found.append(LOOPS)
    if leaked(text, raw, special):
        found.append(LEAKS)
    return tuple(found)


def hard_flags(flags: Iterable[str]) -> tuple[str, ...]:
    """The flags that strike an answer."""
    return tuple(flag for flag in flags if flag in HARD)


def loops(text: str, ids: Sequence[int] = ()) -> bool:
    """Whether the answer ends in a repeated n-gram, or repeats most of its word 4-grams."""
    spoken = words(text)
    grams = list(ngrams(spoken, 4))
    if len(grams) >= REP_4_GRAMS and 1 - len(set(grams)) / len(grams) > REP_4:
        return True
    return tail_loops(ids) or tail_loops(spoken)


def tail_loops(units: Sequence[Hashable]) -> bool:
    """Whether the last units repeat with some period, at least `REPEATS` times over."""
    least = max(TAIL_UNITS, TAIL_SHARE * len(units))
    for period in range(1, len(units) // REPEATS + 1):
        same = 0
        while same < len(units) - period and units[-1 - same] == units[-1 - same - period]:
            same += 1
        covered = same + period
        if covered >= REPEATS * period and covered >= least:
            return True
    return False


def leaked(text: str, raw: str, special: Sequence[str] = ()) -> tuple[str, ...]:
    """The special tokens said within the answer, as tokens or spelt out."""
    named = [token for token in special if token and token in raw]
    named += [match.group() for match in _SPELT.finditer(raw) if match.group() not in named]
    if not named and raw != text:
        named.append("special tokens")
    return tuple(dict.fromkeys(named))

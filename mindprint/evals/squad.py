"""An answer against its reference, as SQuAD compares them: exact match and token F1."""

from __future__ import annotations

from collections import Counter

from mindprint.evals.text import words


def exact_match(text: str, reference: str) -> bool:
    """Whether both hold the same normalised words in the same order."""
    return words(text) == words(reference)


def token_f1(text: str, reference: str) -> float:
    """Harmonic mean of precision and recall of the answer's words, 0..1 (Rajpurkar et al. 2016,
    arXiv 1606.05250, with the words of `mindprint.evals.text`). 1 where both hold no word."""
    said, wanted = words(text), words(reference)
    if not said or not wanted:
        return float(said == wanted)
    shared = (Counter(said) & Counter(wanted)).total()
    return 2 * shared / (len(said) + len(wanted))

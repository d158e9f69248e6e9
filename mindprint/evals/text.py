"""Text as the scores compare it: normalised words, their clauses, and their n-grams."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Sequence
from functools import lru_cache

import regex

ARTICLES = frozenset({"a", "an", "the"})

_APOSTROPHES = regex.compile(r"['’‘ʼ`]")
_THOUSANDS = regex.compile(r"(?<=\d),(?=\d{3}(?!\d))")
# Punctuation and symbols part words, but for the point inside a number: 3.5 is not 3.
_SEPARATORS = regex.compile(r"(?!(?<=\d)\.(?=\d))[\p{P}\p{S}\p{Z}\p{C}]")
# What ends a clause: hyphens, quotation marks and emphasis stand within one.
_CLAUSE_ENDS = regex.compile(
    r"(?!(?<=\d)\.(?=\d))[.,;:!?¡¿()\[\]{}\n\u2012-\u2015\p{STerm}、،؛]|(?<=\s)--?(?=\s)"
)
# Scripts written without spaces: each character is its own word.
_UNSPACED = regex.compile(
    r"([\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}]\p{M}*)"
)


@lru_cache(maxsize=8192)
def clauses(text: str) -> tuple[tuple[str, ...], ...]:
    """The normalised words of each clause that has any: `words`, parted at punctuation."""
    text = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    text = _THOUSANDS.sub("", _APOSTROPHES.sub("", text))
    parted = (_parted(clause) for clause in _CLAUSE_ENDS.split(text))
    return tuple(clause for clause in parted if clause)


@lru_cache(maxsize=8192)
def words(text: str) -> tuple[str, ...]:
    """NFKC, casefold, apostrophes and articles dropped, other punctuation parting words."""
    return tuple(word for clause in clauses(text) for word in clause)


def normalise(text: str) -> str:
    """`words` joined by single spaces."""
    return " ".join(words(text))


def contains(text: str, phrase: str) -> bool:
    """Whether `phrase` stands in `text`, word for word, after normalising both."""
    wanted = normalise(phrase)
    return bool(wanted) and f" {wanted} " in f" {normalise(text)} "


def ngrams(tokens: Sequence[str], n: int) -> Iterator[tuple[str, ...]]:
    return (tuple(tokens[start : start + n]) for start in range(len(tokens) - n + 1))


def overlap_share(texts: Sequence[str], against: Sequence[str], n: int = 8) -> float:
    """Share of the word n-grams of `texts` that occur in `against`; 0.0 where there is none.

    A text shorter than n words counts as one gram of its own length.
    """
    grams = [gram for text in texts for gram in _grams(words(text), n)]
    sizes = {len(gram) for gram in grams}
    known: set[tuple[str, ...]] = set()
    for text in against:
        for size in sizes:
            known.update(ngrams(words(text), size))
    return sum(gram in known for gram in grams) / len(grams) if grams else 0.0


def _parted(text: str) -> tuple[str, ...]:
    text = _UNSPACED.sub(r" \1 ", _SEPARATORS.sub(" ", text))
    return tuple(word for word in text.split() if word not in ARTICLES)


def _grams(tokens: tuple[str, ...], n: int) -> list[tuple[str, ...]]:
    if len(tokens) >= n:
        return list(ngrams(tokens, n))
    return [tokens] if tokens else []

"""Words, numbers, marks and sentences of a text, as the style of it is counted."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import regex

Kind = Literal["word", "number", "space", "mark"]

# Scripts written without spaces: each character is its own word, as in `evals.text`.
_UNSPACED = r"[\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}]\p{M}*"
_SPOKEN = (
    rf"{_UNSPACED}|\p{{L}}(?:(?!{_UNSPACED})[\p{{L}}\p{{M}}])*(?:['’ʼ]\p{{L}}[\p{{L}}\p{{M}}]*)*"
)
_WORD = regex.compile(_SPOKEN)
_PIECE = regex.compile(
    rf"(?P<word>{_SPOKEN})|(?P<number>\p{{N}}+(?:[.,]\p{{N}}+)*)|(?P<space>\s+)|(?P<mark>.)",
    regex.DOTALL,
)
_CURLY = regex.compile(r"[’ʼ]")
_SENTENCE_END = regex.compile(r"(?<=[.!?…]['\")\]’”]*)\s+|(?<=[。！？])|\n+")


@dataclass(frozen=True)
class Piece:
    """A stretch of text. A word is lowercased, with straight apostrophes."""

    text: str
    kind: Kind


@lru_cache(maxsize=4096)
def pieces(text: str) -> tuple[Piece, ...]:
    """The text from its first to its last character; kept, since every family asks for it."""
    return tuple(_pieces(text))


def _pieces(text: str) -> Iterator[Piece]:
    for match in _PIECE.finditer(text):
        kind = match.lastgroup
        if kind == "word":
            yield Piece(_lowered(match.group()), "word")
        elif kind == "number":
            yield Piece(match.group(), "number")
        else:
            yield Piece(match.group(), "space" if kind == "space" else "mark")


def spoken(text: str) -> list[str]:
    """The words of a text, lowercased, in order."""
    return list(_spoken(text))


@lru_cache(maxsize=4096)
def _spoken(text: str) -> tuple[str, ...]:
    return tuple(_WORD.findall(_lowered(text)))


def sentences(text: str) -> list[list[str]]:
    """The words of each sentence that has one."""
    return [words for part in _SENTENCE_END.split(text) if (words := spoken(part))]


def _lowered(text: str) -> str:
    return _CURLY.sub("'", text.lower())

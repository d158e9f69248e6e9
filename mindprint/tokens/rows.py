"""A conversation as token ids, and which of them are trained."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    """`mask` is true on the tokens of the trained assistant turns, their end-of-turn token
    included. `cut`: the row was longer and lost its end."""

    ids: tuple[int, ...]
    mask: tuple[bool, ...]
    cut: bool


class Stream:
    """Text of token ids that come one at a time, given out only in whole characters.

    `decode` maps ids to text. Tokens are decoded together with those before them, since a
    tokenizer may drop the space at the start of what it decodes.
    """

    def __init__(self, decode: Callable[[Sequence[int]], str]) -> None:
        self._decode = decode
        self._ids: list[int] = []
        self._start = 0
        self._told = 0

    def push(self, token: int) -> str:
        """The text that `token` completes; "" while a character lacks bytes."""
        self._ids.append(token)
        before, now = self._texts()
        # U+FFFD stands for bytes that are no character yet.
        if len(now) <= len(before) or now.endswith("\ufffd"):
            return ""
        self._start, self._told = self._told, len(self._ids)
        return now[len(before) :]

    def end(self) -> str:
        """What is left, an unfinished character as U+FFFD."""
        before, now = self._texts()
        self._start = self._told = len(self._ids)
        return now[len(before) :]

    def _texts(self) -> tuple[str, str]:
        return (
            self._decode(self._ids[self._start : self._told]),
            self._decode(self._ids[self._start :]),
        )

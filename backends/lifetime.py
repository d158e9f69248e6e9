"""Whoever was handed out by a session is of no use once the session is closed, and says so."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Concatenate, ParamSpec, Protocol, TypeVar


class Handed(Protocol):
    """A session, or what one hands out."""

    def _enter(self) -> None:
        """Make ready for work. Raises ModelError when the session is closed."""


H = TypeVar("H", bound=Handed)
P = ParamSpec("P")
R = TypeVar("R")


def while_open(method: Callable[Concatenate[H, P], R]) -> Callable[Concatenate[H, P], R]:
    """A method that begins with `_enter()`."""

    @functools.wraps(method)
    def entered(self: H, /, *args: P.args, **kwargs: P.kwargs) -> R:
        self._enter()
        return method(self, *args, **kwargs)

    return entered

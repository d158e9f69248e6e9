"""Ctrl-C as a wish: the first asks the run to save and stop, the second stops it at once."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from mindprint.cli.output import note


@contextmanager
def asked_to_stop() -> Iterator[Callable[[], bool]]:
    """Inside, the first SIGINT or SIGTERM makes the given function true."""
    asked: list[int] = []

    def hear(number: int, frame: FrameType | None) -> None:
        if asked:
            raise KeyboardInterrupt
        asked.append(number)
        note("stopping after this step, and saving; once more stops at once")

    wanted = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.signal(number, hear) for number in wanted}
    try:
        yield lambda: bool(asked)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)

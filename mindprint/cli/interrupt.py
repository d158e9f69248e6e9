"""Signals as wishes: the first asks a run to save and stop, the second stops it at once."""

from __future__ import annotations

import os
import signal
import stat
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any

Handler = Callable[[int, FrameType | None], Any]
Handlers = Mapping[int, Handler | int | None]
HANG_UP = getattr(signal, "SIGHUP", None)
"""The terminal is gone; Windows has no such signal."""


class Stop:
    """Whether somebody asked to stop. Calling it tells, for a loop that looks between steps."""

    def __init__(self) -> None:
        self._asked = 0
        self._careful = False

    def __call__(self) -> bool:
        return self._asked > 0

    @contextmanager
    def careful(self) -> Iterator[None]:
        """Inside, the first signal is only a wish; outside, there is nothing to be saved, and it
        stops what is under way. One that came before is not forgotten."""
        if self._asked:
            raise KeyboardInterrupt
        self._careful = True
        try:
            yield
        finally:
            self._careful = False

    def hear(self, number: int, frame: FrameType | None) -> None:
        """The handler of the signals."""
        self._asked += 1
        if number == HANG_UP:
            stop_talking()
        if not self._careful or self._asked > 1:
            raise KeyboardInterrupt
        _say("stopping after this step, and saving; once more stops at once")


@contextmanager
def asked_to_stop() -> Iterator[Stop]:
    """Inside, SIGINT, SIGTERM and SIGHUP are heard by the given Stop, until `hush`."""
    stop = Stop()
    with handled(stop.hear, signal.SIGINT, signal.SIGTERM, HANG_UP):
        yield stop


@contextmanager
def ended_as_interrupted(last: bool = False) -> Iterator[None]:
    """Inside, SIGTERM and SIGHUP end a command as ctrl-C does. `last`: the process ends with it, so
    that what `hush` silenced stays silent."""

    def hear(number: int, frame: FrameType | None) -> None:
        if number == HANG_UP:
            stop_talking()
        raise KeyboardInterrupt

    interrupt = signal.getsignal(signal.SIGINT)
    try:
        with handled(hear, signal.SIGTERM, HANG_UP) as before:
            yield
    finally:
        if not last:
            _put_back({signal.SIGINT: interrupt, **before})


def hush() -> None:
    """An interruption is being told: until the command has ended, another one would only cut that
    short, or kill the process by the signal as it ends."""
    if threading.current_thread() is not threading.main_thread():
        return
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if HANG_UP is not None and signal.getsignal(HANG_UP) is not signal.SIG_IGN:
        signal.signal(HANG_UP, lambda number, frame: stop_talking())


@contextmanager
def handled(hear: Handler, *numbers: int | None) -> Iterator[Handlers]:
    """Gives the handlers there were, which are put back at the end but where `hush` took over.

    `nohup` has SIGHUP ignored, and that stays. Only the main thread may set handlers.
    """
    wanted = [number for number in numbers if number is not None]
    if HANG_UP is not None and signal.getsignal(HANG_UP) is signal.SIG_IGN:
        wanted = [number for number in wanted if number != HANG_UP]
    if threading.current_thread() is not threading.main_thread():
        wanted = []
    before = {number: signal.signal(number, hear) for number in wanted}
    try:
        yield before
    finally:
        _put_back({one: was for one, was in before.items() if signal.getsignal(one) == hear})


def _put_back(handlers: Handlers) -> None:
    if threading.current_thread() is not threading.main_thread():
        return
    for number, handler in handlers.items():
        # None: it was set outside of Python, and cannot be put back from here.
        signal.signal(number, signal.SIG_DFL if handler is None else handler)


def _say(text: str) -> None:
    """Past Python's own buffers, which may be half written as a signal comes."""
    try:
        os.write(2, f"{text}\n".encode())
    except OSError:  # nobody reads it any more, and the run is to be saved all the same
        stop_talking()


def stop_talking() -> None:
    """What is written to a terminal that is gone would fail: let it go nowhere."""
    for number in (1, 2):
        with suppress(OSError):  # it was closed before
            if stat.S_ISCHR(os.fstat(number).st_mode):
                nowhere = os.open(os.devnull, os.O_WRONLY)
                os.dup2(nowhere, number)
                os.close(nowhere)

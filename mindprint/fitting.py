"""Work in batches that fit the device: stopped between them, smaller where it was full."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar

from backends.errors import OutOfMemory
from mindprint.errors import StageError

T = TypeVar("T")

OnFull = Literal["stop", "shrink", "raise"]
SHRINK = "go on in smaller batches with `mindprint resume RUN --set run.on_oom=shrink`"


class DeviceFull(StageError):
    """The device has no room for a batch, and smaller ones were not asked for or are as full."""


def _go_on() -> None:
    """Nobody asks to stop."""


def _unheard(text: str) -> None:
    """Nobody listens."""


def _shrink(size: int) -> str:
    return SHRINK


@dataclass(frozen=True)
class Fit:
    """How batches meet a full device. `halt` is called between them, and may raise.

    `on_full`: `stop` raises DeviceFull with what `advice` says of a batch of that size, `shrink`
    goes on with half of it, aloud, `raise` leaves the backend's error as it is. Each piece of work
    begins with its full size again, so that what fits is a matter of the work alone and a run that
    was stopped computes in the same batches as one that was not.
    """

    halt: Callable[[], None] = _go_on
    on_full: OnFull = "raise"
    tell: Callable[[str], None] = _unheard
    where: str = ""
    advice: Callable[[int], str] = _shrink
    unit: str = "rows"
    note: str = ""

    def whole(self, size: int, work: Callable[[int], T]) -> tuple[T, int]:
        """`work(size)`, begun again with half the size while the device is full, and the size that
        fitted. Raises DeviceFull."""
        while True:
            try:
                return work(size), size
            except OutOfMemory as error:
                if self.on_full == "raise":
                    raise
                said = error.what
                if self.on_full == "stop" or size == 1:
                    raise self._full(size, said) from error
            # Out here the failed pass is let go of, with all that it held on the device.
            size //= 2
            self.tell(f"out of memory: batches of {size} from here{self.note} ({said})")

    def each(self, order: Sequence[int], size: int, work: Callable[[Sequence[int]], None]) -> None:
        """`work` on `size` of `order` at a time. Raises DeviceFull, and what `halt` raises."""
        start, size = 0, min(size, len(order))
        while start < len(order):
            self.halt()
            start, size = self._piece(order, start, size, work)

    def _piece(
        self, order: Sequence[int], start: int, size: int, work: Callable[[Sequence[int]], None]
    ) -> tuple[int, int]:
        """The batch at `start`: where it ended, and the size that fitted."""

        def one(size: int) -> int:
            places = order[start : start + size]
            work(places)
            return start + len(places)

        return self.whole(size, one)

    def _full(self, size: int, said: str) -> DeviceFull:
        unit = self.unit if size != 1 else self.unit.removesuffix("s")
        what = f"out of memory with {size} {unit} in a batch: {said}"
        return DeviceFull(what, where=self.where, hint=self.advice(size))


PLAIN = Fit()
"""Neither stopped nor made smaller."""


def training_advice(
    section: str, batch_size: int, accumulate: int, *, shrinks: bool = True
) -> Callable[[int], str]:
    """What to change in a stage of `section` so that it fits, the effective batch staying.
    `shrinks`: whether it could go on in smaller batches by itself."""

    def advice(size: int) -> str:
        own = min(size, batch_size)
        if own == 1:
            return "lower `sft.max_tokens`, in a new run: `mindprint resume RUN --fork NEW`"
        effective = batch_size * accumulate
        smaller = next(rows for rows in range(own - 1, 0, -1) if effective % rows == 0)
        pieces = effective // smaller
        return (
            f"lower `sft.max_tokens` first, then set `{section}.batch_size={smaller}` with "
            f"`{section}.accumulate={pieces}`, which is the same effective batch; both need a new "
            f"run (`mindprint resume RUN --fork NEW`){f'. Or {SHRINK}' if shrinks else ''}"
        )

    return advice


def asking_advice(size: int, *, shrinks: bool = True) -> str:
    """What to change where the device is full as a model answers or is read."""
    new = "lower `eval.max_tokens` in a new run: `mindprint resume RUN --fork NEW`"
    return f"{SHRINK}; or {new}" if shrinks and size > 1 else new

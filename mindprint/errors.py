"""What mindprint says when it cannot go on: what, where, hint; each kind has its exit code."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum


class Exit(IntEnum):
    """Exit codes of every verb."""

    DONE = 0
    GATE = 1
    USAGE = 2
    DATA = 65
    UNAVAILABLE = 69
    BUG = 70
    INTERRUPTED = 130


@dataclass(frozen=True, order=True)
class Fault:
    """One thing wrong with an input. `line` 0 means the file as a whole."""

    file: str
    line: int
    what: str
    field: str = ""

    @property
    def where(self) -> str:
        place = f"{self.file}:{self.line}" if self.line else self.file
        return f"{place}:{self.field}" if self.field else place


class MindprintError(Exception):
    """A fault a person can act on, told in three lines."""

    exit = Exit.BUG

    def __init__(self, what: str, *, where: str = "", hint: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.where = where
        self.hint = hint


class ConfigError(MindprintError):
    """A key, value or command-line argument that cannot be used."""

    exit = Exit.USAGE


class DataError(MindprintError):
    """Rows or files that cannot be used: all of them, gathered."""

    exit = Exit.DATA

    def __init__(self, what: str, faults: Sequence[Fault], *, hint: str = "") -> None:
        super().__init__(what, where=faults[0].where if faults else "", hint=hint)
        self.faults = tuple(sorted(faults))


class StageError(MindprintError):
    """A stage broke one of the things that must always hold; the run folder stays resumable."""

    exit = Exit.BUG


class Interrupted(MindprintError):
    """Asked to stop; what was done is kept."""

    exit = Exit.INTERRUPTED

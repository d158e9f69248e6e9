"""A run's folder. A name that exists in it is complete."""

from __future__ import annotations

import shutil
from dataclasses import asdict
from pathlib import Path

from mindprint.disk import journal
from mindprint.disk.hold import LOCK, OWNER, Hold
from mindprint.disk.whole import is_leftover, sweep
from mindprint.errors import ConfigError
from mindprint.events import Event

ROOM = 16 * 1024 * 1024
MARKS = ("ledger.json", "config.yaml", "inputs.json")
"""A folder that holds one of these is a run's."""
PAST, PAST_FILE = "past", "past.json"
"""Adapters that a run began with, and the list of them."""
RUN_FOLDER = "the run folder"


class RunDir:
    """Paths and writes of one run. Hold it locked while writing."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._hold = Hold(path)

    @classmethod
    def create(cls, path: Path) -> RunDir:
        """A new, locked run folder. Raises ConfigError as `check_place` does."""
        _make_place(path)
        run = cls(path)
        run.lock()
        return run

    @classmethod
    def open(cls, path: Path) -> RunDir:
        """A run folder that exists, for reading."""
        if not any((path / mark).is_file() for mark in MARKS):
            raise ConfigError(
                f"`{path}` is not a run folder",
                where=str(path),
                hint="`mindprint runs` lists the run folders",
            )
        return cls(path)

    def lock(self) -> tuple[str, ...]:
        """Take the folder for writing and clear away what a process that died left half written.

        Returns what is to be said of such a process. Raises ConfigError when another process is
        writing here.
        """
        said = self._hold.take()
        sweep(self.path)
        return (said,) if said else ()

    def release(self) -> None:
        self._hold.let_go()

    def topic(self, topic: str) -> Path:
        return self.path / "topics" / topic

    def stage(self, topic: str, stage: str, attempt: int) -> Path:
        """Folder of a stage; later attempts get a number."""
        return self.topic(topic) / (stage if attempt == 0 else f"{stage}-{attempt + 1}")

    @property
    def checkpoints(self) -> Path:
        return self.path / "checkpoints"

    @property
    def events(self) -> Path:
        return self.path / "events.jsonl"

    def record(self, event: Event) -> None:
        """Append one line to events.jsonl."""
        fields = {key: value for key, value in asdict(event).items() if value not in ("", {})}
        journal.append(self.events, fields)


def check_place(path: Path, size: int = 0, noun: str = RUN_FOLDER) -> None:
    """Whether a folder of about `size` bytes could be made at `path`, leaving nothing there: asked
    before any weight is loaded. `noun`: what it would be. Raises ConfigError if it cannot be
    written, is not empty, or has no room."""
    missing = [folder for folder in (path, *path.parents) if not folder.exists()]
    try:
        _make_place(path, size, noun)
    finally:
        for folder in missing:
            if folder.is_dir():
                folder.rmdir()


def is_empty(path: Path) -> bool:
    """Whether a folder holds nothing but what a process left that died before it wrote: a lock, or
    the adapters that its run was to begin with."""
    return all(
        one.name in (LOCK, OWNER) or is_leftover(one) or _is_past(one) for one in path.iterdir()
    )


def _is_past(path: Path) -> bool:
    return path.name == PAST and (path / PAST_FILE).is_file()


def _make_place(path: Path, size: int = 0, noun: str = RUN_FOLDER) -> None:
    try:
        if path.exists() and not path.is_dir():
            what = f"`{path}` is a file"
            raise ConfigError(what, where="--out", hint="choose a folder that is not there yet")
        if path.exists() and not is_empty(path):
            raise ConfigError(
                f"`{path}` is not empty",
                where="--out",
                hint=f"choose another folder, or go on with `mindprint resume {path}`",
            )
        path.mkdir(parents=True, exist_ok=True)
        _probe_room(path, max(size, ROOM))
    except OSError as error:
        raise ConfigError(
            f"cannot write {noun}: {error.strerror or error}",
            where=str(path),
            hint="choose another folder with `--out`, or free some space",
        ) from error


def _probe_room(path: Path, size: int) -> None:
    """Find a read-only or full disk now, not after an hour of training."""
    free = shutil.disk_usage(path).free
    if free < size:
        raise OSError(28, f"{size / 1e6:,.1f} MB wanted, {free / 1e6:,.1f} MB free on the disk")
    probe = path / ".probe"
    try:
        probe.write_bytes(b"0" * 4096)
    finally:
        probe.unlink(missing_ok=True)

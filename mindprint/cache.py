"""What a model said and weighed, kept from run to run by a hash of all that decides it."""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from mindprint.disk.sealed import Damaged, read_json, write_json
from mindprint.disk.whole import is_leftover
from mindprint.errors import ConfigError

PLACE = "MINDPRINT_CACHE"
"""Names the folder; empty, nothing is kept anywhere."""

LOCK = ".lock"
ENTRY = re.compile(r"[0-9a-f]{64}\.json")
"""How an entry is named, by the SHA-256 it is found by. Nothing else in the folder is ours."""
LARGEST = 256 * 1024 * 1024
"""Bytes that all entries may have together; the one unused for the longest goes first."""
PATIENCE = 5.0
"""Seconds that one process waits for others that write; then it does without."""


class NotKept(Exception):
    """An entry could not be written; what it holds is known all the same."""


@dataclass(frozen=True)
class Cache:
    """A folder of sealed entries, one file a key, that any number of processes may share."""

    folder: Path
    largest: int = LARGEST

    @classmethod
    def default(cls) -> Cache | None:
        """Where the environment or the system wants it; None where there is none, as
        `why_none` says. Raises ConfigError."""
        place = default_folder()
        return None if place is None else cls(place)

    def get(self, key: str) -> dict[str, Any] | None:
        """The entry, which is marked as used. Raises Damaged, the entry being gone then."""
        where = self._file(key)
        if not where.is_file():
            return None
        try:
            tree = read_json(where)
            os.utime(where)
        except Damaged:
            if not where.is_file():  # another process made room just now
                return None
            where.unlink(missing_ok=True)
            raise
        except FileNotFoundError:
            return tree
        except PermissionError:  # shared, and not ours: it is read and not marked
            return tree
        return tree

    def put(self, key: str, tree: Mapping[str, Any]) -> None:
        """Keep an entry, and make room for it. Raises NotKept."""
        from mindprint.disk.room import NoRoom

        try:
            with self._alone():
                self._sweep()
                write_json(self._file(key), tree)
                self._make_room(self._file(key))
        except Timeout as error:
            raise NotKept(f"another process has been writing there for {PATIENCE:g} s") from error
        except (OSError, NoRoom) as error:
            raise NotKept(str(error)) from error

    def size(self) -> tuple[int, int]:
        """(entries, bytes), those of writes that never ended among the latter."""
        sizes = [size for _, size, _ in self._entries()]
        return len(sizes), sum(sizes) + sum(size for _, size, _ in self._leftovers())

    def clear(self) -> tuple[int, int]:
        """Remove every entry; how many there were, and the bytes that are free now. Raises
        OSError."""
        if not self.folder.is_dir():
            return 0, 0
        with self._alone():
            swept, found = self._sweep(), self._entries()
            for _, _, file in found:
                file.unlink(missing_ok=True)
        return len(found), swept + sum(size for _, size, _ in found)

    def _file(self, key: str) -> Path:
        return self.folder / f"{key}.json"

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Inside, no other process writes here or takes away."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with FileLock(self.folder / LOCK, timeout=PATIENCE):
            yield

    def _entries(self) -> list[tuple[int, int, Path]]:
        """(time of the last use, bytes, file), the one unused for the longest first."""
        return self._files(lambda file: ENTRY.fullmatch(file.name) is not None)

    def _leftovers(self) -> list[tuple[int, int, Path]]:
        """The same of what was written half: outside `_alone` a write under way is among them."""
        return self._files(lambda file: is_leftover(file) and ENTRY.match(file.name, 1) is not None)

    def _files(self, ours: Callable[[Path], bool]) -> list[tuple[int, int, Path]]:
        found = []
        for file in self.folder.iterdir() if self.folder.is_dir() else ():
            if not ours(file):
                continue
            try:
                told = file.stat()
            except FileNotFoundError:
                continue
            found.append((told.st_mtime_ns, told.st_size, file))
        return sorted(found)

    def _sweep(self) -> int:
        """Remove what processes that died left half written; its bytes. Only inside `_alone`."""
        found = self._leftovers()
        for _, _, file in found:
            file.unlink(missing_ok=True)
        return sum(size for _, size, _ in found)

    def _make_room(self, newest: Path) -> None:
        found = self._entries()
        total = sum(size for _, size, _ in found)
        for _, size, file in found:
            if total <= self.largest:
                return
            if file != newest or size > self.largest:
                file.unlink(missing_ok=True)
                total -= size


def default_folder() -> Path | None:
    """`MINDPRINT_CACHE`, else the user's folder for such things; None where the former is empty, or
    the user has no home. Raises ConfigError where it begins with a home that is not there."""
    named = os.environ.get(PLACE)
    if named is not None:
        return _with_home(named) if named else None
    base = os.environ.get("XDG_CACHE_HOME")
    if not base:
        caches = "Library/Caches" if platform.system() == "Darwin" else ".cache"
        try:
            base = str(Path.home() / caches)
        except RuntimeError:  # no HOME, and the system does not know the user
            return None
    return Path(base) / "mindprint"


def why_none() -> str:
    """Why there is no folder, where `default_folder` has none."""
    if PLACE in os.environ:
        return f"{PLACE} is empty"
    return f"this user has no home folder; {PLACE}=FOLDER names another place"


def _with_home(named: str) -> Path:
    try:
        return Path(named).expanduser()
    except RuntimeError as error:
        hint = f"name the folder in full: `{PLACE}=/path/to/folder`; empty, nothing is kept"
        raise ConfigError(
            f"the cache cannot be in `{named}`: there is no such home folder",
            where=PLACE,
            hint=hint,
        ) from error

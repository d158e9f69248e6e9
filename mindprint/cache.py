"""What a model said and weighed, kept from run to run by a hash of all that decides it."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from mindprint.disk.sealed import Damaged, read_json, write_json

PLACE = "MINDPRINT_CACHE"
"""Names the folder; empty, nothing is kept anywhere."""

LOCK = ".lock"
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
        """Where the environment or the system wants it; None where it is switched off."""
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
                write_json(self._file(key), tree)
                self._make_room(self._file(key))
        except Timeout as error:
            raise NotKept(f"another process has been writing there for {PATIENCE:g} s") from error
        except (OSError, NoRoom) as error:
            raise NotKept(str(error)) from error

    def size(self) -> tuple[int, int]:
        """(entries, bytes)."""
        sizes = [size for _, size, _ in self._entries()]
        return len(sizes), sum(sizes)

    def clear(self) -> tuple[int, int]:
        """Remove every entry; how many there were, and their bytes. Raises OSError."""
        if not self.folder.is_dir():
            return 0, 0
        with self._alone():
            found = self._entries()
            for _, _, file in found:
                file.unlink(missing_ok=True)
        return len(found), sum(size for _, size, _ in found)

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
        found = []
        for file in self.folder.glob("*.json") if self.folder.is_dir() else ():
            try:
                told = file.stat()
            except FileNotFoundError:
                continue
            found.append((told.st_mtime_ns, told.st_size, file))
        return sorted(found)

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
    """`MINDPRINT_CACHE`, else the user's folder for such things; None where that is empty."""
    named = os.environ.get(PLACE)
    if named is not None:
        return Path(named).expanduser() if named else None
    base = os.environ.get("XDG_CACHE_HOME")
    if not base:
        caches = "Library/Caches" if platform.system() == "Darwin" else ".cache"
        base = str(Path.home() / caches)
    return Path(base) / "mindprint"

"""One writer for a folder, and who it is."""

from __future__ import annotations

import json
import os
import platform
import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from mindprint.errors import ConfigError

LOCK = ".lock"
OWNER = ".owner"


class Hold:
    """A lock that the system lets go of when its process dies, however it dies."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = FileLock(folder / LOCK)
        self._owner = folder / OWNER

    def take(self) -> str:
        """Returns what is to be said of a process that died holding it, or nothing. Raises
        ConfigError when another process holds it."""
        try:
            self._lock.acquire(timeout=0)
        except Timeout as error:
            raise self._taken() from error
        died = self._owner.exists()
        said = f"{self._described()} ended without letting go of this run" if died else ""
        words = [Path(sys.argv[0]).name, *sys.argv[1:]]
        mine = {"pid": os.getpid(), "host": platform.node(), "command": shlex.join(words)}
        self._owner.write_text(json.dumps(mine) + "\n", "utf-8")
        return said

    @contextmanager
    def quietly(self) -> Iterator[None]:
        """Inside, nobody else writes here; nothing in the folder is changed. Raises as `take`."""
        try:
            self._lock.acquire(timeout=0)
        except Timeout as error:
            raise self._taken() from error
        try:
            yield
        finally:
            self._lock.release()

    def check(self) -> None:
        """Raises ConfigError when another process holds it."""
        if (self._folder / LOCK).is_file():
            with self.quietly():
                pass

    def let_go(self) -> None:
        if self._lock.is_locked:
            self._owner.unlink(missing_ok=True)
            self._lock.release()

    def _taken(self) -> ConfigError:
        return ConfigError(
            f"{self._described()} is writing this run",
            where=str(self._folder),
            hint="wait for it, or stop it first",
        )

    def _described(self) -> str:
        """`process 4242 (mindprint train ...)`, as far as it is known."""
        try:
            owner = json.loads(self._owner.read_text("utf-8"))
            pid, host, command = int(owner["pid"]), str(owner["host"]), str(owner["command"])
        except (OSError, ValueError, KeyError, TypeError):
            return "another process"
        elsewhere = f" on {host}" if host != platform.node() else ""
        return f"process {pid}{elsewhere} (`{command}`)"

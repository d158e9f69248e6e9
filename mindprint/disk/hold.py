"""One writer for a folder, and who it is."""

from __future__ import annotations

import errno
import json
import os
import platform
import shlex
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from textwrap import shorten

from filelock import FileLock, Timeout

from mindprint.errors import ConfigError

LOCK = ".lock"
OWNER = ".owner"
LINE = 60
"""Characters of a command line that are told."""

_READ_ONLY = {errno.EROFS, errno.EACCES, errno.EPERM}


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
        """Inside, nobody else writes here; nothing in the folder is changed. A folder that may not
        be written, as on read-only media, is only looked at. Raises as `take`."""
        let_go: Callable[[], object] = self._lock.release
        try:
            self._lock.acquire(timeout=0)
        except Timeout as error:
            raise self._taken() from error
        except OSError as error:
            if error.errno not in _READ_ONLY:
                raise
            let_go = self._shared()
        try:
            yield
        finally:
            let_go()

    def check(self) -> None:
        """Raises ConfigError when another process holds it."""
        if (self._folder / LOCK).is_file():
            with self.quietly():
                pass

    def let_go(self) -> None:
        if self._lock.is_locked:
            self._owner.unlink(missing_ok=True)
            self._lock.release()

    def _shared(self) -> Callable[[], object]:
        """Share the lock that may not be taken, and return what lets go of it. Where there is none,
        or none that may be read, there is nobody who could be asked."""
        if os.name != "posix":
            return lambda: None
        import fcntl

        try:
            handle = os.open(self._folder / LOCK, os.O_RDONLY)
        except OSError:
            return lambda: None
        try:
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError as error:  # it is read-only to us, and not to who holds it
            os.close(handle)
            raise self._taken() from error
        except OSError:
            os.close(handle)  # a medium without locks
            return lambda: None
        return lambda: os.close(handle)

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
        return f"process {pid}{elsewhere} (`{_first_words(command)}`)"


def _first_words(command: str) -> str:
    """As many as say which command it is; the whole of it stands in the owner's file."""
    return shorten(command, LINE, placeholder=" ...", break_long_words=False)

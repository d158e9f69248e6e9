"""Opening a file of the curriculum: never one outside it, never one that is no file of rows."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a named pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)
# A pipe without a writer must not be waited for; on systems without these flags they are 0.
_FLAGS = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0)
_NO_LINK = getattr(os, "O_NOFOLLOW", 0)


class NotRead(Exception):
    """Why a file was not read, in words."""


def read_inside(root: Path, file: str, limit: int) -> bytes:
    """The bytes of `file` below `root`, which is resolved already; at most `limit` of them.

    Its size is asked of the open file before a byte is read. Links are resolved first and then
    not followed again, folder by folder, so that one put in their place meanwhile is refused.
    Raises NotRead.
    """
    try:
        with _opened(root, file) as handle:
            found = os.fstat(handle)
            if not stat.S_ISREG(found.st_mode):
                raise NotRead(f"is {kind_of(found.st_mode)}, not a file")
            if found.st_size > limit:
                raise NotRead(f"{found.st_size:,} bytes; at most {limit:,} are read")
            with os.fdopen(os.dup(handle), "rb") as stream:
                data = stream.read(limit + 1)
    except (OSError, RuntimeError) as error:
        raise NotRead(f"cannot be read: {getattr(error, 'strerror', None) or error}") from error
    if len(data) > limit:  # it grew while it was read
        raise NotRead(f"more than {limit:,} bytes, which is the most that is read")
    return data


def kind_of(mode: int) -> str:
    """What stands at a path, in words."""
    return next((name for fits, name in KINDS if fits(mode)), "a file")


@contextmanager
def _opened(root: Path, file: str) -> Iterator[int]:
    path = (root / file).resolve(strict=True)
    if not path.is_relative_to(root):
        raise NotRead("is a link that leaves the curriculum; copy the file in")
    if os.open not in os.supports_dir_fd:
        handle = os.open(path, _FLAGS | _NO_LINK)
    else:
        handle = _stepped(root, path.relative_to(root).parts)
    try:
        yield handle
    finally:
        os.close(handle)


def _stepped(root: Path, parts: tuple[str, ...]) -> int:
    """The last of `parts` opened from folder to folder, no link on the way."""
    handle = os.open(root, _FLAGS | os.O_DIRECTORY)
    for place, part in enumerate(parts, start=1):
        folder = os.O_DIRECTORY if place < len(parts) else 0
        try:
            inner = os.open(part, _FLAGS | _NO_LINK | folder, dir_fd=handle)
        finally:
            os.close(handle)
        handle = inner
    return handle

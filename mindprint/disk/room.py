"""Room on the disk, asked for before a write of known size."""

from __future__ import annotations

import errno
import shutil
from pathlib import Path

from mindprint.errors import Exit, MindprintError

SPARE = 4 * 1024 * 1024
"""Bytes that stay free: the small files that say where a run stands must find room."""

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


class NoRoom(MindprintError):
    """The disk has no room; what is on it is whole."""

    exit = Exit.USAGE

    @classmethod
    def of(cls, path: Path, size: int) -> NoRoom:
        """`size`: bytes that were wanted, 0 where that is not known."""
        free = shutil.disk_usage(_nearest(path)).free
        wanted = f"{_megabytes(size)} wanted, " if size else ""
        return cls(
            f"no room on the disk: {wanted}{_megabytes(free)} free",
            where=str(path),
            hint="free some space, then go on with `mindprint resume RUN`: what is there is whole",
        )


def check_room(path: Path, size: int) -> None:
    """Raises NoRoom unless `size` bytes can be written at `path`, with SPARE to spare."""
    if shutil.disk_usage(_nearest(path)).free < size + SPARE:
        raise NoRoom.of(path, size)


def tells_of_no_room(error: Exception) -> bool:
    """Whether a failed write failed for want of room; safetensors says it in its text alone."""
    if isinstance(error, OSError):
        return error.errno in _FULL
    return any(f"(os error {number})" in str(error) for number in _FULL)


def _nearest(path: Path) -> Path:
    """The folder that exists, at or above `path`."""
    return next(above for above in (path, *path.absolute().parents) if above.is_dir())


def _megabytes(size: int) -> str:
    return f"{size / 1e6:,.1f} MB"

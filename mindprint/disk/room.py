"""Room on the disk, asked for before a write of known size."""

from __future__ import annotations

import errno
import shutil
from pathlib import Path

from mindprint.errors import Exit, MindprintError

SPARE = 4 * 1024 * 1024
"""Bytes that adapters and checkpoints leave free, for the files that say where a run stands."""

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


class NoRoom(MindprintError):
    """The disk has no room; what is on it is whole."""

    exit = Exit.USAGE

    @classmethod
    def of(cls, path: Path, size: int = 0, spare: int = 0) -> NoRoom:
        """`size`: bytes that were wanted, 0 where that is not known; `spare`: to be left free."""
        free = shutil.disk_usage(_nearest(path)).free
        wanted = f"{_megabytes(size)} wanted, " if size else ""
        left = f", of which {_megabytes(spare)} are kept for smaller files" if spare else ""
        return cls(
            f"no room on the disk: {wanted}{_megabytes(free)} free{left}",
            where=str(path),
            hint="free some space, then go on with `mindprint resume RUN`: what is there is whole",
        )


def check_room(path: Path, size: int, spare: int = 0) -> None:
    """Raises NoRoom unless `size` bytes can be written at `path`, `spare` bytes staying free."""
    if shutil.disk_usage(_nearest(path)).free < size + spare:
        raise NoRoom.of(path, size, spare)


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

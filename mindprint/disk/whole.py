"""Files and folders written whole or not at all: temporary name, fsync, rename, fsync."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError

from mindprint.disk import points
from mindprint.disk.room import SPARE, NoRoom, check_room, tells_of_no_room

PARTIAL = ".partial"
GONE = ".gone"


def write_bytes(path: Path, content: bytes) -> None:
    """Raises NoRoom, the old file being as it was."""
    path.parent.mkdir(parents=True, exist_ok=True)
    check_room(path, len(content))
    partial = _hidden(path, PARTIAL)
    with _or_nothing(path, partial):
        points.reached("begun", path)
        with partial.open("wb") as stream:
            stream.write(content)
            stream.flush()
            points.reached("written", path)
            os.fsync(stream.fileno())
        points.reached("synced", path)
        partial.replace(path)
        points.reached("renamed", path)
        sync_folder(path.parent)
    points.reached("done", path)


def write_text(path: Path, text: str) -> None:
    write_bytes(path, text.encode("utf-8"))


def write_folder(path: Path, fill: Callable[[Path], None], size: int = 0) -> None:
    """Let `fill` write a folder of about `size` bytes under a temporary name, then give it its
    name. Raises NoRoom, with nothing of it left."""
    path.parent.mkdir(parents=True, exist_ok=True)
    check_room(path, size, SPARE)
    partial = _hidden(path, PARTIAL)
    if partial.exists():
        shutil.rmtree(partial)
    with _or_nothing(path, partial):
        points.reached("begun", path)
        partial.mkdir()
        fill(partial)
        points.reached("written", path)
        _sync_below(partial)
        points.reached("synced", path)
        remove_folder(path)
        partial.replace(path)
        points.reached("renamed", path)
        sync_folder(path.parent)
    points.reached("done", path)


def write_new_folder(path: Path, fill: Callable[[Path], None], size: int = 0) -> None:
    """As `write_folder`, where there was none. Whatever ends it early leaves neither the folder
    nor those above that were made for it."""
    above = missing_above(path)
    own: list[int] = []

    def filled(partial: Path) -> None:
        own.append(partial.stat().st_ino)
        fill(partial)

    try:
        write_folder(path, filled, size)
    except BaseException:
        shutil.rmtree(_hidden(path, PARTIAL), ignore_errors=True)
        if own and path.is_dir() and path.stat().st_ino == own[0]:  # it had its name already
            remove_folder(path)
        remove_empty(above)
        raise


def missing_above(path: Path) -> list[Path]:
    """The folders that `path` lies in and that are not there yet, the innermost first."""
    return [folder for folder in path.parents if not folder.exists()]


def remove_empty(folders: Sequence[Path]) -> None:
    """The innermost comes first; one that somebody else uses by now stays, and those above it."""
    for folder in folders:
        if not folder.is_dir() or any(folder.iterdir()):
            return
        folder.rmdir()


def remove_folder(path: Path) -> None:
    """A folder goes at once or not at all: half of one never bears its name."""
    if not path.exists():
        return
    gone = _hidden(path, GONE)
    if gone.exists():
        shutil.rmtree(gone)
    path.replace(gone)
    sync_folder(path.parent)
    shutil.rmtree(gone)


def sweep(root: Path) -> None:
    """Remove what a process that died left under temporary names."""
    for path in sorted(root.rglob(".*"), reverse=True):
        if path.name.endswith((PARTIAL, GONE)):
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()


def is_leftover(path: Path) -> bool:
    """Whether a name is one that only a write under way bears."""
    return path.name.startswith(".") and path.name.endswith((PARTIAL, GONE))


def sync_folder(folder: Path) -> None:
    """Put a folder's names on the disk."""
    if os.name != "posix":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _sync_below(folder: Path) -> None:
    for path in sorted(folder.rglob("*")):
        if path.is_dir():
            sync_folder(path)
        else:
            with path.open("rb") as stream:
                os.fsync(stream.fileno())
    sync_folder(folder)


def _hidden(path: Path, kind: str) -> Path:
    return path.with_name(f".{path.name}{kind}")


@contextmanager
def _or_nothing(path: Path, partial: Path) -> Iterator[None]:
    """On a full disk give the room back that the unfinished part holds, and say so."""
    try:
        yield
    except (OSError, SafetensorError) as error:
        shutil.rmtree(partial) if partial.is_dir() else partial.unlink(missing_ok=True)
        if tells_of_no_room(error):
            raise NoRoom.of(path) from error
        raise

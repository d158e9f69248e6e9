"""A file of sealed lines that only grows; a line torn by a crash is dropped, and said."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mindprint.disk import points
from mindprint.disk.sealed import read_line, sealed_line


def append(path: Path, tree: Mapping[str, Any]) -> None:
    """Add one line, and put it on the disk."""
    points.reached("begun", path)
    with path.open("ab") as stream:
        stream.write(sealed_line(tree).encode("utf-8"))
        stream.flush()
        os.fsync(stream.fileno())
    points.reached("done", path)


def mend(path: Path) -> tuple[str, ...]:
    """Drop a torn last line. Returns what is to be said of it, and of lines that are not as they
    were written, which stay."""
    if not path.is_file():
        return ()
    content = path.read_bytes()
    said = []
    *lines, rest = content.split(b"\n")
    if rest:
        os.truncate(path, len(content) - len(rest))
        said.append(f"{path.name}: its last line was torn and is dropped")
    odd = [number for number, line in enumerate(lines, 1) if read_line(line) is None]
    if odd:
        shown = ", ".join(str(number) for number in odd[:5]) + (", ..." if len(odd) > 5 else "")
        said.append(f"{path.name}: not as written: line {shown}; nothing is computed from it")
    return tuple(said)

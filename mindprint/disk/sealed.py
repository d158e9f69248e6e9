"""JSON that carries a checksum of its own content: what was changed by anybody is not believed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mindprint.disk.whole import write_text
from mindprint.errors import DataError, Fault

SEAL = "sha256"
LINE_SEAL = "check"


class Damaged(DataError):
    """A file of a run folder is not as it was written."""

    def __init__(self, path: Path, how: str, *, hint: str = "") -> None:
        what = f"`{path.name}` is not as it was written: {how}"
        said = hint or "put back a copy of the file, or begin anew"
        super().__init__(what, [Fault(str(path), 0, what)], hint=said)


def write_json(path: Path, tree: Mapping[str, Any]) -> None:
    """Whole or not at all, with the SHA-256 of its content as its last key."""
    text = json.dumps(tree, indent=2, ensure_ascii=False)
    sealed = {**tree, SEAL: _content_hash(json.loads(text))}
    write_text(path, json.dumps(sealed, indent=2, ensure_ascii=False) + "\n")


def read_json(path: Path) -> dict[str, Any]:
    """The content without its checksum. Raises Damaged, naming the file."""
    try:
        tree = json.loads(path.read_bytes().decode("utf-8"))
    except FileNotFoundError as error:
        raise Damaged(path, "it is missing") from error
    except (OSError, ValueError, RecursionError) as error:
        raise Damaged(path, f"it cannot be read: {error}") from error
    if not isinstance(tree, dict) or SEAL not in tree:
        raise Damaged(path, "it carries no checksum")
    sealed = tree.pop(SEAL)
    if sealed != _content_hash(tree):
        raise Damaged(path, "its content is not what its checksum says")
    return tree


def is_whole(path: Path) -> bool:
    """Whether `path` is there and as it was written."""
    try:
        read_json(path)
    except Damaged:
        return False
    return True


def sealed_line(tree: Mapping[str, Any]) -> str:
    """One line of JSON with its own checksum, newline included."""
    check = _content_hash(json.loads(json.dumps(tree)))[:16]
    return json.dumps({**tree, LINE_SEAL: check}, ensure_ascii=False) + "\n"


def read_line(line: bytes) -> dict[str, Any] | None:
    """What a sealed line holds; None when it is not as it was written."""
    try:
        tree = json.loads(line.decode("utf-8"))
    except (ValueError, RecursionError):
        return None
    if not isinstance(tree, dict) or tree.pop(LINE_SEAL, None) != _content_hash(tree)[:16]:
        return None
    return tree


def file_hash(path: Path) -> str:
    """SHA-256 of a file's bytes."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def adapter_digest(folder: Path) -> str:
    """SHA-256 over an adapter's two files, by name."""
    names = ("adapter_config.json", "adapter_model.safetensors")
    return digest_of({name: file_hash(folder / name) for name in names})


def digest_of(hashes: Mapping[str, str]) -> str:
    """SHA-256 over files' names and hashes, in the order given."""
    total = hashlib.sha256()
    for name, value in hashes.items():
        total.update(f"{name} {value}\n".encode())
    return total.hexdigest()


def _content_hash(tree: Any) -> str:
    text = json.dumps(tree, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode("ascii")).hexdigest()

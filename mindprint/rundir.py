"""A run's folder. A name that exists in it is complete."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from mindprint.errors import ConfigError
from mindprint.events import Event

ROOM = 16 * 1024 * 1024


class RunDir:
    """Paths and writes of one run. Hold it locked while writing."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = FileLock(path / ".lock")

    @classmethod
    def create(cls, path: Path) -> RunDir:
        """A new, locked run folder. Raises ConfigError as `check_place` does."""
        _make_place(path)
        run = cls(path)
        run.lock()
        return run

    @classmethod
    def open(cls, path: Path) -> RunDir:
        """A run folder that exists, for reading."""
        if not (path / "ledger.json").is_file() and not (path / "config.yaml").is_file():
            raise ConfigError(
                f"`{path}` is not a run folder",
                where=str(path),
                hint="`mindprint runs` lists the run folders",
            )
        return cls(path)

    def lock(self) -> None:
        """Raises ConfigError when another process is writing here."""
        try:
            self._lock.acquire(timeout=0)
        except Timeout as error:
            raise ConfigError(
                "another process is writing this run",
                where=str(self.path),
                hint="wait for it, or stop it first",
            ) from error

    def release(self) -> None:
        self._lock.release()

    def topic(self, topic: str) -> Path:
        return self.path / "topics" / topic

    def stage(self, topic: str, stage: str, attempt: int) -> Path:
        """Folder of a stage; later attempts get a number."""
        return self.topic(topic) / (stage if attempt == 0 else f"{stage}-{attempt + 1}")

    @property
    def checkpoints(self) -> Path:
        return self.path / "checkpoints"

    def record(self, event: Event) -> None:
        """Append one line to events.jsonl."""
        fields = {key: value for key, value in asdict(event).items() if value not in ("", {})}
        with (self.path / "events.jsonl").open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(fields, ensure_ascii=False) + "\n")


def check_place(path: Path) -> None:
    """Whether a run could be made at `path`, leaving nothing there: asked before any weight is
    loaded. Raises ConfigError if it cannot be written, is not empty, or has no room."""
    missing = [folder for folder in (path, *path.parents) if not folder.exists()]
    try:
        _make_place(path)
    finally:
        for folder in missing:
            if folder.is_dir():
                folder.rmdir()


def _make_place(path: Path) -> None:
    try:
        if path.exists() and (not path.is_dir() or any(path.iterdir())):
            raise ConfigError(
                f"`{path}` is not empty",
                where="--out",
                hint=f"choose another folder, or go on with `mindprint resume {path}`",
            )
        path.mkdir(parents=True, exist_ok=True)
        _probe_room(path)
    except OSError as error:
        raise ConfigError(
            f"cannot write the run folder: {error.strerror or error}",
            where=str(path),
            hint="choose another folder with `--out`, or free some space",
        ) from error


def write_text(path: Path, text: str) -> None:
    """Write whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    with partial.open("w", encoding="utf-8") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())
    partial.replace(path)
    _sync_folder(path.parent)


def write_json(path: Path, value: Any) -> None:
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def read_json(path: Path) -> Any:
    """Raises ConfigError naming the file when it is not whole."""
    try:
        return json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"cannot read `{path.name}`: {error}", where=str(path), hint="the run folder is damaged"
        ) from error


def write_folder(path: Path, fill: Callable[[Path], None]) -> None:
    """Let `fill` write a folder under a temporary name, then give it its name."""
    partial = path.with_name(f".{path.name}.partial")
    if partial.exists():
        shutil.rmtree(partial)
    partial.mkdir(parents=True)
    fill(partial)
    for file in sorted(partial.rglob("*")):
        if file.is_file():
            with file.open("rb") as stream:
                os.fsync(stream.fileno())
    if path.exists():
        shutil.rmtree(path)
    partial.replace(path)
    _sync_folder(path.parent)


def digest(folder: Path) -> str:
    """SHA-256 over the adapter's two files, by name."""
    total = hashlib.sha256()
    for name in ("adapter_config.json", "adapter_model.safetensors"):
        total.update(
            f"{name} {hashlib.sha256((folder / name).read_bytes()).hexdigest()}\n".encode()
        )
    return total.hexdigest()


def _sync_folder(folder: Path) -> None:
    if os.name != "posix":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _probe_room(path: Path) -> None:
    """Find a read-only or full disk now, not after an hour of training."""
    if shutil.disk_usage(path).free < ROOM:
        raise OSError(28, f"less than {ROOM // 2**20} MB free on the disk")
    probe = path / ".probe"
    try:
        probe.write_bytes(b"0" * 4096)
    finally:
        probe.unlink(missing_ok=True)

"""A disk that fills up at any write: told with the file and what to do, and nothing is lost."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from mindprint.disk import points, room, whole
from tests.cli.conftest import Mindprint, Said
from tests.faults.alike import EXACT, TOLD, bytes_that_differ, results_that_differ
from tests.faults.conftest import Trained, Undisturbed
from tests.faults.kills import DONE

PLACES: dict[str, tuple[Callable[[Path], bool], int]] = {
    "a checkpoint": (lambda path: path.parent.name == "checkpoints", 2),
    "a stage's folder": (lambda path: path.name == "dpo", 1),
    "the answers": (lambda path: path.name == "answers.jsonl", 2),
    "the ledger": (lambda path: path.name == "ledger.json", 2),
    "the result": (lambda path: path.name == "result.json", 2),
    "the events": (lambda path: path.name == "events.jsonl", 6),
}
"""Which file is being written when the room ends, and for the how manieth time."""
MESSAGE = 500
"""Characters that a message of three lines does not exceed, long folder names included."""


class Quota:
    """A disk that is full from the wanted write on, until `lift` is called. `early`: found out
    when the room is asked for, else in the middle of the write. `path`: what did not fit."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, place: str, early: bool) -> None:
        self._patch = monkeypatch
        self._wanted, self._nth = PLACES[place]
        self._seen = 0
        self.path: Path | None = None
        real = shutil.disk_usage

        def usage(path: Any) -> Any:
            return real(path)._replace(free=0) if self.path else real(path)

        def asked(path: Path, size: int, spare: int = 0) -> None:
            if early:
                self._count(path)
            room.check_room(path, size, spare)

        def reached(point: points.Point, path: Path) -> None:
            if point == "begun":
                if not early:
                    self._count(path)
                if self.path:
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        monkeypatch.setattr(shutil, "disk_usage", usage)
        monkeypatch.setattr(whole, "check_room", asked)
        monkeypatch.setattr(points, "reached", reached)

    def _count(self, path: Path) -> None:
        self._seen += self._wanted(path)
        if self._seen == self._nth and self.path is None:
            self.path = path

    def lift(self) -> None:
        self._patch.undo()


@pytest.mark.parametrize(
    ("place", "early"),
    [*((place, False) for place in PLACES), ("a checkpoint", True), ("the ledger", True)],
)
def test_a_full_disk_is_told_and_lived_through(
    place: str,
    early: bool,
    tmp_path: Path,
    train: Trained,
    mindprint: Mindprint,
    undisturbed: Undisturbed,
) -> None:
    """The file logic knows no backend: one of them will do."""
    whole_run, out = undisturbed("mlx"), tmp_path / "run"
    with pytest.MonkeyPatch.context() as patch:
        quota = Quota(patch, place, early)
        said = train(out, "mlx")
        assert quota.path is not None, f"{place} was never written"
        tells(said, quota.path)
        quota.lift()
    assert mindprint("resume", out).code in DONE
    same(whole_run, out)


def tells(said: Said, path: Path) -> None:
    """Exit 2, and three lines with the file and the way on; no traceback."""
    assert said.code == 2, said.err
    assert str(path) in said.error, said.error
    assert "free some space" in said.error and "mindprint resume" in said.error
    assert "Traceback" not in said.err and len(said.error) < MESSAGE + 2 * len(str(path))


def same(whole_run: Path, out: Path) -> None:
    assert bytes_that_differ(whole_run, out, EXACT) == []
    assert bytes_that_differ(whole_run, out, TOLD) == []
    assert results_that_differ(whole_run, out) == []


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A small disk of its own, in memory."""
    folder = tmp_path / "disk"
    folder.mkdir()
    words = ["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", str(folder)]
    try:
        mounted = subprocess.run(words, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip("there is no `mount` here: the quota shim stands in for a full disk")
    if mounted.returncode:
        pytest.skip(f"mounting is not allowed here: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.parametrize("place", ["a checkpoint", "a stage's folder", "the ledger"])
def test_a_disk_that_is_really_full(
    place: str,
    disk: Path,
    train: Trained,
    mindprint: Mindprint,
    undisturbed: Undisturbed,
) -> None:
    """Another program takes the last bytes while a file is being written: the errors are the
    system's own, from Python and from safetensors."""
    wanted, nth = PLACES[place]
    seen: list[Path] = []
    ballast = disk / "ballast"

    def reached(point: points.Point, path: Path) -> None:
        if point == "begun" and wanted(path):
            seen.append(path)
            if len(seen) == nth:
                fill_up(ballast)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(points, "reached", reached)
        said = train(disk / "run", "mlx")
    tells(said, seen[nth - 1])
    ballast.unlink()
    assert mindprint("resume", disk / "run").code in DONE
    same(undisturbed("mlx"), disk / "run")


def fill_up(ballast: Path) -> None:
    """Take all the room that is left, to the last byte."""
    with ballast.open("wb", buffering=0) as stream:
        for size in (1 << 20, 1 << 12, 1):
            try:
                while stream.write(bytes(size)) == size:
                    pass
            except OSError as error:
                assert error.errno == errno.ENOSPC


def test_small_files_may_take_what_adapters_leave_free(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = shutil.disk_usage(tmp_path)
    free = room.SPARE // 2
    monkeypatch.setattr(shutil, "disk_usage", lambda path: real._replace(free=free))
    whole.write_text(tmp_path / "result.json", "{}")
    with pytest.raises(room.NoRoom, match=r"of which 4\.2 MB are kept for smaller files"):
        whole.write_folder(tmp_path / "sft", lambda folder: None, 10)

"""What survives a power cut: bytes on the disk before their name, and the name after it.

A killed process cannot show this, since the system keeps what it wrote: the calls themselves are
looked at, in their order.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from mindprint.disk import journal
from mindprint.disk.whole import remove_folder, write_bytes, write_folder


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[tuple[str, str]]]:
    """("synced", file or folder) and ("renamed", new name), as they happen."""
    made: list[tuple[str, str]] = []
    real_sync, real_replace = os.fsync, Path.replace

    def sync(handle: int) -> None:
        made.append(("synced", Path(f"/proc/self/fd/{handle}").readlink().name))
        real_sync(handle)

    def replace(path: Path, target: Path) -> Path:
        made.append(("renamed", target.name))
        return real_replace(path, target)

    if not Path("/proc/self/fd").is_dir():
        pytest.skip("the system does not tell which file a handle is of")
    monkeypatch.setattr(os, "fsync", sync)
    monkeypatch.setattr(Path, "replace", replace)
    yield made


def test_a_file(tmp_path: Path, calls: list[tuple[str, str]]) -> None:
    write_bytes(tmp_path / "ledger.json", b"{}")
    assert calls == [
        ("synced", ".ledger.json.partial"),
        ("renamed", "ledger.json"),
        ("synced", tmp_path.name),
    ]


def test_a_folder_and_all_below_it(tmp_path: Path, calls: list[tuple[str, str]]) -> None:
    def fill(folder: Path) -> None:
        (folder / "inner").mkdir()
        (folder / "inner" / "b").write_bytes(b"b")
        (folder / "a").write_bytes(b"a")

    write_folder(tmp_path / "sft", fill)
    named = calls.index(("renamed", "sft"))
    before = {name for what, name in calls[:named] if what == "synced"}
    assert before == {"a", "b", "inner", ".sft.partial"}
    assert calls[named + 1 :] == [("synced", tmp_path.name)]


def test_a_folder_that_goes(tmp_path: Path, calls: list[tuple[str, str]]) -> None:
    (tmp_path / "sft").mkdir()
    remove_folder(tmp_path / "sft")
    assert calls == [("renamed", ".sft.gone"), ("synced", tmp_path.name)]


def test_a_line(tmp_path: Path, calls: list[tuple[str, str]]) -> None:
    journal.append(tmp_path / "events.jsonl", {"kind": "notice"})
    assert calls[0] == ("synced", "events.jsonl")

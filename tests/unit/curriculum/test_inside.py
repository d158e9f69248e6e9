"""What is opened of a curriculum's files: none outside of it, none that is too large."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from mindprint.curriculum import inside, load
from mindprint.curriculum.layout import Layout, survey
from tests.unit.curriculum.author import TOPIC, TRAIN, faults, jsonl, write

SECRET = jsonl([{**row, "answer": "SECRET"} for row in TRAIN])


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """A topic's folder beside the curriculum, with rows that would be read as well as any."""
    folder = tmp_path / "outside"
    folder.mkdir()
    (folder / "train.jsonl").write_text(SECRET, "utf-8")
    return folder


def swap(path: Path, target: Path) -> None:
    """A link to `target` in the place of the file or folder at `path`."""
    path.rename(path.with_name("was-here"))
    path.symlink_to(target)


def test_a_link_put_there_after_the_survey_is_refused(
    tmp_path: Path, outside: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = write(tmp_path / "author")

    def surveyed(folder: Path) -> Layout:
        found = survey(folder)
        swap(root / TOPIC / "train.jsonl", outside / "train.jsonl")
        return found

    monkeypatch.setattr(load, "survey", surveyed)
    assert faults(root) == ["train.jsonl is a link that leaves the curriculum; copy the file in"]


@pytest.mark.skipif(os.open not in os.supports_dir_fd, reason="opens no file relative to a folder")
@pytest.mark.parametrize("name", ["train.jsonl", "."])
def test_a_link_put_there_between_looking_and_opening_is_not_followed(
    tmp_path: Path, outside: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    root = write(tmp_path / "author")
    opened, done = inside._stepped, []

    def stepped(folder: Path, parts: tuple[str, ...]) -> int:
        if parts[-1] == "train.jsonl":
            swap(root / TOPIC if name == "." else root / TOPIC / name, outside / name)
            done.append(parts)
        return opened(folder, parts)

    monkeypatch.setattr(inside, "_stepped", stepped)
    found = faults(root)
    assert done and found
    assert found[-1 if name == "." else 0].startswith("train.jsonl cannot be read: "), found


def test_a_file_over_the_cap_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = write(tmp_path, {"train.jsonl": jsonl(TRAIN * 40)})
    size = (root / TOPIC / "train.jsonl").stat().st_size
    read: list[int] = []
    whole = os.fdopen

    def fdopen(handle: int, *rest: Any) -> Any:
        read.append(os.fstat(handle).st_size)
        return whole(handle, *rest)

    monkeypatch.setattr(inside.os, "fdopen", fdopen)
    monkeypatch.setattr(load, "MAX_FILE", size - 1)
    assert faults(root) == [f"train.jsonl {size:,} bytes; at most {size - 1:,} are read"]
    assert read and size not in read
    monkeypatch.setattr(load, "MAX_FILE", size)
    assert faults(root) == []
    assert size in read


def test_all_files_together_have_a_cap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = write(tmp_path)
    total = sum(file.stat().st_size for file in root.rglob("*") if file.is_file())
    monkeypatch.setattr(load, "MAX_TOTAL", total)
    assert faults(root) == []
    monkeypatch.setattr(load, "MAX_TOTAL", total - 1)
    found = faults(root)
    assert len(found) == 1 and f"all files together may hold {total - 1:,} bytes" in found[0]

"""The cache's folder: whole entries, bounded, shared, never believed where they are damaged."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from filelock import FileLock

from mindprint import cache as caches
from mindprint.cache import Cache, NotKept, default_folder
from mindprint.disk.sealed import Damaged


def test_an_entry_comes_back_as_it_was_put(tmp_path: Path) -> None:
    cache = Cache(tmp_path / "deep" / "cache")
    assert cache.get("a") is None and cache.size() == (0, 0)
    tree = {"calls": {"x": [0.1, -3.4028234663852886e38, [1, 2]]}}
    cache.put("a", tree)
    assert cache.get("a") == tree
    assert cache.size()[0] == 1
    assert cache.clear()[0] == 1 and cache.get("a") is None


def test_a_damaged_entry_is_told_of_and_gone(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    cache.put("a", {"calls": {"x": [1.5]}})
    file = tmp_path / "a.json"
    file.write_text(file.read_text().replace("1.5", "2.5"))
    with pytest.raises(Damaged, match="checksum"):
        cache.get("a")
    assert cache.get("a") is None


def test_the_entry_unused_for_the_longest_goes_first(tmp_path: Path) -> None:
    cache = Cache(tmp_path, largest=700)
    for number, key in enumerate("abc"):
        cache.put(key, {"calls": {"x": ["." * 80]}})
        os.utime(tmp_path / f"{key}.json", (number, number))
    assert cache.get("a") is not None  # used now, so `b` is the oldest
    cache.put("d", {"calls": {"x": ["." * 80]}})
    assert cache.get("b") is None
    assert cache.get("a") is not None and cache.get("d") is not None
    assert cache.size()[1] <= 700
    cache.put("e", {"calls": {"x": ["." * 1000]}})  # larger than all there may be
    assert cache.size() == (0, 0)


def test_what_cannot_be_written_is_no_reason_to_stop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(caches, "PATIENCE", 0.0)
    cache = Cache(tmp_path)
    with FileLock(tmp_path / caches.LOCK), pytest.raises(NotKept, match="another process"):
        cache.put("a", {})
    (tmp_path / "file").write_text("")
    with pytest.raises(NotKept):
        Cache(tmp_path / "file").put("a", {})


def test_where_it_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(caches.PLACE, "")
    assert default_folder() is None and Cache.default() is None
    monkeypatch.setenv(caches.PLACE, str(tmp_path))
    assert default_folder() == tmp_path
    monkeypatch.delenv(caches.PLACE)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_folder() == tmp_path / "mindprint"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setattr("platform.system", lambda: "Darwin")
    assert default_folder() == Path.home() / "Library/Caches/mindprint"

"""The cache's folder: whole entries, bounded, shared, never believed where they are damaged."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from filelock import FileLock

from mindprint import cache as caches
from mindprint.cache import Cache, NotKept, default_folder, why_none
from mindprint.disk.sealed import Damaged
from mindprint.errors import ConfigError

KEY = {letter: letter * 64 for letter in "abcde"}


def test_an_entry_comes_back_as_it_was_put(tmp_path: Path) -> None:
    cache = Cache(tmp_path / "deep" / "cache")
    assert cache.get(KEY["a"]) is None and cache.size() == (0, 0)
    tree = {"calls": {"x": [0.1, -3.4028234663852886e38, [1, 2]]}}
    cache.put(KEY["a"], tree)
    assert cache.get(KEY["a"]) == tree
    assert cache.size()[0] == 1
    assert cache.clear()[0] == 1 and cache.get(KEY["a"]) is None


def test_a_damaged_entry_is_told_of_and_gone(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    cache.put(KEY["a"], {"calls": {"x": [1.5]}})
    file = tmp_path / f"{KEY['a']}.json"
    file.write_text(file.read_text().replace("1.5", "2.5"))
    with pytest.raises(Damaged, match="checksum"):
        cache.get(KEY["a"])
    assert cache.get(KEY["a"]) is None


def test_the_entry_unused_for_the_longest_goes_first(tmp_path: Path) -> None:
    cache = Cache(tmp_path, largest=700)
    for number, key in enumerate("abc"):
        cache.put(KEY[key], {"calls": {"x": ["." * 80]}})
        os.utime(tmp_path / f"{KEY[key]}.json", (number, number))
    assert cache.get(KEY["a"]) is not None  # used now, so `b` is the oldest
    cache.put(KEY["d"], {"calls": {"x": ["." * 80]}})
    assert cache.get(KEY["b"]) is None
    assert cache.get(KEY["a"]) is not None and cache.get(KEY["d"]) is not None
    assert cache.size()[1] <= 700
    cache.put(KEY["e"], {"calls": {"x": ["." * 1000]}})  # larger than all there may be
    assert cache.size() == (0, 0)


def test_what_cannot_be_written_is_no_reason_to_stop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(caches, "PATIENCE", 0.0)
    cache = Cache(tmp_path)
    with FileLock(tmp_path / caches.LOCK), pytest.raises(NotKept, match="another process"):
        cache.put(KEY["a"], {})
    (tmp_path / "file").write_text("")
    with pytest.raises(NotKept):
        Cache(tmp_path / "file").put(KEY["a"], {})


def test_what_is_not_ours_stays(tmp_path: Path) -> None:
    others = ("package.json", "a.json", f"{KEY['a']}.json.bak", ".package.json.partial", ".x.gone")
    for name in others:
        (tmp_path / name).write_text("{}")
    cache = Cache(tmp_path, largest=10)
    cache.put(KEY["a"], {"calls": {"x": ["." * 80]}})  # larger than all there may be: goes at once
    assert cache.size() == (0, 0) and cache.clear() == (0, 0)
    assert {path.name for path in tmp_path.iterdir()} - {caches.LOCK} == set(others)


def test_what_a_killed_write_left_goes(tmp_path: Path) -> None:
    cache, left = Cache(tmp_path), tmp_path / f".{KEY['b']}.json.partial"
    left.write_bytes(b"." * 1000)
    assert cache.size() == (0, 1000)
    cache.put(KEY["a"], {"calls": {}})
    assert not left.exists()
    left.write_bytes(b"." * 1000)
    entries, total = cache.clear()
    assert entries == 1 and total > 1000 and not left.exists()


def test_without_a_home_there_is_none_and_a_wrong_one_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in (caches.PLACE, "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("os.path.expanduser", lambda path: path)  # nobody's home is known
    assert Cache.default() is None and "no home folder" in why_none()
    monkeypatch.setenv(caches.PLACE, "~nosuchuser/x")
    with pytest.raises(ConfigError, match="~nosuchuser/x") as refused:
        default_folder()
    assert refused.value.where == caches.PLACE and caches.PLACE in refused.value.hint
    monkeypatch.setenv(caches.PLACE, "")
    assert why_none() == f"{caches.PLACE} is empty"


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

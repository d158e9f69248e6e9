"""A process that dies at any named point of a write leaves the old content or the new, whole."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from mindprint.disk import journal, points
from mindprint.disk.sealed import Damaged, is_whole, read_json, read_line, write_json
from mindprint.disk.whole import remove_folder, write_bytes, write_folder
from mindprint.rundir import RunDir
from tests.faults.shots import POINTS

OLD, NEW = b"old" * 1000, b"new!" * 1500
BEFORE_THE_NAME = ("begun", "written", "synced")


class Died(BaseException):
    """No handler for errors sees it, as none sees a kill."""


def die_at(monkeypatch: pytest.MonkeyPatch, point: str, name: str, nth: int = 1) -> None:
    """Die when `point` of a file called `name` is reached for the `nth` time."""
    seen = []

    def reached(at: str, path: Path) -> None:
        if (at, path.name) == (point, name):
            seen.append(at)
            if len(seen) == nth:
                raise Died(f"{at} of {path}")

    monkeypatch.setattr(points, "reached", reached)


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


@pytest.mark.parametrize("there", [True, False])
@pytest.mark.parametrize("point", POINTS)
def test_a_file_is_old_or_new(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, point: str, there: bool
) -> None:
    path = tmp_path / "ledger.json"
    if there:
        path.write_bytes(OLD)
    die_at(monkeypatch, point, path.name)
    with pytest.raises(Died):
        write_bytes(path, NEW)
    if point in BEFORE_THE_NAME:
        assert (path.read_bytes() if there else path.exists()) == (OLD if there else False)
    else:
        assert path.read_bytes() == NEW
    RunDir(tmp_path).lock()
    assert names(tmp_path) - {".lock", ".owner"} <= {"ledger.json"}  # the rest is swept


@pytest.mark.parametrize("there", [True, False])
@pytest.mark.parametrize("point", POINTS)
def test_a_folder_is_old_or_new(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, point: str, there: bool
) -> None:
    """An old folder of that name may be gone before the new one has it, never half of either."""
    path = tmp_path / "step"
    if there:
        write_folder(path, filled(OLD))
    die_at(monkeypatch, point, path.name)
    with pytest.raises(Died):
        write_folder(path, filled(NEW))
    RunDir(tmp_path).lock()
    assert names(tmp_path) - {".lock", ".owner"} <= {"step"}
    if point in BEFORE_THE_NAME:
        assert contents(path) == ((OLD, OLD) if there else None)
    else:
        assert contents(path) == (NEW, NEW)


@pytest.mark.parametrize("moment", ["moved aside", "half removed"])
def test_a_folder_that_replaces_another_is_never_a_mix(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    """Death after the old folder was moved aside, and while it is being removed."""
    path = tmp_path / "step"
    write_folder(path, filled(OLD))

    def dies(folder: Path) -> None:
        if moment == "half removed":
            (folder / "one").unlink()
        raise Died(str(folder))

    monkeypatch.setattr("mindprint.disk.whole.shutil.rmtree", dies)
    with pytest.raises(Died):
        write_folder(path, filled(NEW))
    monkeypatch.undo()
    RunDir(tmp_path).lock()
    assert contents(path) is None and names(tmp_path) == {".lock", ".owner"}


def test_a_folder_is_removed_whole_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "step"
    write_folder(path, filled(OLD))

    def dies(folder: Path) -> None:
        (folder / "one").unlink()
        raise Died(str(folder))

    monkeypatch.setattr("mindprint.disk.whole.shutil.rmtree", dies)
    with pytest.raises(Died):
        remove_folder(path)
    assert not path.exists()


@pytest.mark.parametrize("point", POINTS)
def test_a_sealed_file_is_believed_only_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, point: str
) -> None:
    path = tmp_path / "ledger.json"
    write_json(path, {"entries": 1})
    die_at(monkeypatch, point, path.name)
    with pytest.raises(Died):
        write_json(path, {"entries": 2})
    assert read_json(path) == {"entries": 1 if point in BEFORE_THE_NAME else 2}


@pytest.mark.parametrize("point", ["begun", "done"])
def test_a_line_is_there_or_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, point: str
) -> None:
    path = tmp_path / "events.jsonl"
    journal.append(path, {"kind": "first"})
    die_at(monkeypatch, point, path.name)
    with pytest.raises(Died):
        journal.append(path, {"kind": "second"})
    monkeypatch.undo()
    assert journal.mend(path) == ()
    kinds = [(read_line(line) or {})["kind"] for line in path.read_bytes().splitlines()]
    assert kinds == (["first"] if point == "begun" else ["first", "second"])


def test_a_line_torn_at_any_byte_is_dropped_and_said(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    journal.append(path, {"kind": "first"})
    first = path.read_bytes()
    journal.append(path, {"kind": "second", "text": "überall"})
    whole = path.read_bytes()
    for end in range(len(first) + 1, len(whole)):
        path.write_bytes(whole[:end])
        said = journal.mend(path)
        assert path.read_bytes() == first
        assert said == ("events.jsonl: its last line was torn and is dropped",)


def test_the_seal_sees_each_bit(tmp_path: Path) -> None:
    """Every bit of a sealed file in turn: the content is refused, or it is what was written."""
    path = tmp_path / "result.json"
    write_json(path, {"scores": [0.25, 1], "title": "Lämp"})
    content = path.read_bytes()
    tree = read_json(path)
    for place in range(8 * len(content)):
        flipped = bytearray(content)
        flipped[place // 8] ^= 1 << place % 8
        path.write_bytes(flipped)
        try:
            assert read_json(path) == tree
        except Damaged as error:
            assert "result.json" in error.what
    assert not is_whole(tmp_path / "nowhere.json")


def filled(content: bytes) -> Callable[[Path], None]:
    """Two files, so that a mix would show."""

    def fill(folder: Path) -> None:
        (folder / "one").write_bytes(content)
        (folder / "other").write_bytes(content)

    return fill


def contents(path: Path) -> tuple[bytes, bytes] | None:
    if not path.exists():
        return None
    return (path / "one").read_bytes(), (path / "other").read_bytes()


def test_equal_content_has_an_equal_seal(tmp_path: Path) -> None:
    """The order of keys is no content; what is read back can be sealed again."""
    write_json(tmp_path / "a.json", {"x": 1, "y": [2.5, None]})
    write_json(tmp_path / "b.json", {"y": [2.5, None], "x": 1})
    seals = [json.loads((tmp_path / name).read_text())["sha256"] for name in ("a.json", "b.json")]
    assert seals[0] == seals[1]

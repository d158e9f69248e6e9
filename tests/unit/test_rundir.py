"""The run folder: created only where it can be written, and whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from mindprint import rundir
from mindprint.disk.room import NoRoom
from mindprint.disk.whole import write_folder, write_new_folder, write_text
from mindprint.errors import ConfigError
from mindprint.rundir import RunDir, check_place


def test_a_folder_in_use_is_not_written_into(tmp_path: Path) -> None:
    (tmp_path / "note.txt").write_text("mine")
    with pytest.raises(ConfigError) as caught:
        RunDir.create(tmp_path)
    assert caught.value.where == "--out"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["note.txt"]


def test_a_read_only_place_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    # root may write anywhere but among the kernel's own files
    place = Path("/proc/mindprint") if os.geteuid() == 0 else tmp_path / "run"
    with pytest.raises(ConfigError, match="cannot write the run folder"):
        RunDir.create(place)


def test_a_place_below_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="cannot write the run folder"):
        RunDir.create(tmp_path / "file" / "run")


def test_what_lies_there_is_called_what_it_is(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="file` is a file"):
        check_place(tmp_path / "file")
    with pytest.raises(ConfigError, match="cannot write the export"):
        check_place(tmp_path / "file" / "x", noun="the export")


def test_a_full_disk_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # The disk itself cannot be filled in a test; what it would report can.
    monkeypatch.setattr(rundir, "ROOM", 1 << 62)
    with pytest.raises(ConfigError, match="free on the disk"):
        RunDir.create(tmp_path / "run")


def test_a_place_is_looked_at_without_a_trace(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    check_place(tmp_path / "runs" / "one")
    assert not (tmp_path / "runs").exists()
    monkeypatch.setattr(rundir, "ROOM", 1 << 62)
    with pytest.raises(ConfigError, match="free on the disk"):
        check_place(tmp_path / "runs" / "one")
    assert not (tmp_path / "runs").exists()


def test_two_runs_in_one_folder(tmp_path: Path) -> None:
    first = RunDir.create(tmp_path / "run")
    (first.path / "config.yaml").write_text("")
    with pytest.raises(ConfigError, match=rf"process {os.getpid()} \(`.*`\) is writing this run"):
        RunDir.open(first.path).lock()
    first.release()
    RunDir.open(first.path).lock()


def test_a_long_command_is_told_by_its_first_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["/bin/mindprint", "train", "bees", *(f"--set=some.key={n}" for n in range(40))]
    monkeypatch.setattr("sys.argv", words)
    first = RunDir.create(tmp_path / "run")
    with pytest.raises(ConfigError) as caught:
        RunDir(first.path).lock()
    told = caught.value.what.split("`")[1]
    assert told.startswith("mindprint train bees ") and told.endswith(" ...") and len(told) <= 60
    assert "some.key=39" in (first.path / ".owner").read_text(), "all of it stands there"
    first.release()


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    write_text(tmp_path / "a.json", "old")
    with pytest.raises(UnicodeEncodeError):
        write_text(tmp_path / "a.json", "new \udcff")
    assert (tmp_path / "a.json").read_text() == "old"


def test_a_failed_folder_does_not_get_its_name(tmp_path: Path) -> None:
    def fill(folder: Path) -> None:
        (folder / "half").write_text("x")
        raise OSError(28, "No space left on device")

    with pytest.raises(NoRoom, match="no room on the disk"):
        write_folder(tmp_path / "sft", fill)
    assert not list(tmp_path.iterdir())


def test_a_new_folder_that_is_not_made_leaves_nothing_above_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """... nor itself, where it is stopped just after it got its name; what others made stays."""

    def stopped(*_: object) -> None:
        raise KeyboardInterrupt

    def named(point: str, path: Path) -> None:
        if point == "renamed" and path.name == "z":
            stopped()

    with pytest.raises(KeyboardInterrupt):
        write_new_folder(tmp_path / "x/y/z", stopped)
    assert not list(tmp_path.iterdir())
    (tmp_path / "x").mkdir()
    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr("mindprint.disk.points.reached", named)
        write_new_folder(tmp_path / "x/y/z", lambda folder: (folder / "f").touch())
    assert list(tmp_path.rglob("*")) == [tmp_path / "x"]
    (tmp_path / "x/z").mkdir()  # another's
    (tmp_path / "x/z/note.txt").write_text("mine")
    with pytest.raises(KeyboardInterrupt):
        write_new_folder(tmp_path / "x/z", stopped)
    assert (tmp_path / "x/z/note.txt").is_file()


def test_what_a_run_was_to_begin_with_is_no_run(tmp_path: Path) -> None:
    """Killed between its past and its inputs: the folder can be begun in again."""
    past = tmp_path / "run" / "past"
    past.mkdir(parents=True)
    (tmp_path / "run" / ".lock").write_text("")
    with pytest.raises(ConfigError, match="is not empty"):
        check_place(tmp_path / "run")  # somebody's own folder of that name
    (past / "past.json").write_text("{}")
    check_place(tmp_path / "run")
    (tmp_path / "run" / "inputs.json").write_text("{}")
    with pytest.raises(ConfigError, match="is not empty"):
        check_place(tmp_path / "run")

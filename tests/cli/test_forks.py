"""`resume --fork`: a new run from an accepted past, and what is said where none was made."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import stat
from pathlib import Path
from typing import Any

import pytest

from mindprint.cache import PLACE
from mindprint.cli import execute
from mindprint.disk.hold import LOCK, Hold
from mindprint.disk.sealed import read_json
from tests.cli.conftest import Mindprint
from tests.cli.stops import refused
from tests.runs import tree_bytes

Fault = Exception | None


def test_a_fork_with_nothing_changed_comes_to_the_same_end(
    mindprint: Mindprint, stopped: Path, ended: Path, tmp_path: Path
) -> None:
    before = {
        file: file.read_bytes()
        for file in stopped.rglob("*")
        if file.is_file() and file.name != ".lock"
    }
    said = mindprint("resume", stopped, "--fork", tmp_path / "new")
    assert said.code == 1 and "forked from" in said.err and "asked again" not in said.err
    assert {file: file.read_bytes() for file in before} == before
    assert tree_bytes(tmp_path / "new") == tree_bytes(ended)
    one, other = (read_json(path / "result.json") for path in (tmp_path / "new", ended))
    for name in ("verdict", "forgetting", "voice", "changes"):
        assert one[name] == other[name], name
    assert read_json(tmp_path / "new" / "inputs.json")["forked_from"]["run"] == str(stopped)


def test_a_fork_with_other_settings_and_another_backend(
    mindprint: Mindprint, stopped: Path, tmp_path: Path, topics: tuple[str, ...]
) -> None:
    new = tmp_path / "new"
    words = ("--backend", "mlx", "--set", "adapter.rank=2", "--set", "eval.max_tokens=5")
    said = mindprint("resume", stopped, "--fork", new, *words)
    assert said.code == 1, said.err
    assert "left out and asked again" in said.err and "adapter.rank: 2, there 4" in said.err
    entries = read_json(new / "ledger.json")["entries"]
    made = {(entry["topic"], entry["backend"], entry["rank"]) for entry in entries}
    assert made == {(topics[0], "torch", 4), (topics[1], "mlx", 2), (topics[2], "mlx", 2)}
    result = read_json(new / "result.json")
    assert result["status"] == "finished" and len(result["topics"]) == 3
    assert mindprint("resume", new).code == 1


def test_a_fork_until_a_topic_of_a_finished_run(
    mindprint: Mindprint, done: Path, tmp_path: Path, topics: tuple[str, ...]
) -> None:
    said = mindprint("resume", done, "--fork", tmp_path / "new", "--until", topics[1])
    assert said.code == 1 and f"after `{topics[1]}`" in said.err
    assert tree_bytes(tmp_path / "new") == tree_bytes(done)


def ended_while_copied(monkeypatch: pytest.MonkeyPatch, fault: Fault) -> None:
    """Copying a fork ends with `fault`, or with ctrl-C."""

    def copied(*words: object, **named: object) -> None:
        if fault is not None:
            raise fault
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr("mindprint.fork.shutil.copytree", copied)


@pytest.mark.parametrize("fault", [None, OSError(errno.ENOSPC, "No space left on device")])
def test_a_fork_that_was_not_made_is_to_be_asked_for_again(
    mindprint: Mindprint,
    stopped: Path,
    tmp_path: Path,
    topics: tuple[str, ...],
    monkeypatch: pytest.MonkeyPatch,
    no_model: None,
    fault: Fault,
) -> None:
    words = ("--fork", tmp_path / "new", "--until", topics[0], "--set", "sft.epochs=3")
    with monkeypatch.context() as patched:
        ended_while_copied(patched, fault)
        said = mindprint("resume", stopped, *words)
    again = " ".join(str(word) for word in ("mindprint", "resume", stopped, *words))
    refused(said, 2 if fault else 130, f"nothing was written yet: begin again with `{again}`")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine", "r"]


def test_a_cache_that_cannot_be_is_refused_before_the_past_is_copied(
    mindprint: Mindprint,
    stopped: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    no_model: None,
) -> None:
    monkeypatch.setenv(PLACE, "~nosuchuser/x")
    said = mindprint("resume", stopped, "--fork", tmp_path / "new")
    refused(said, 2, PLACE)
    assert not (tmp_path / "new").exists()


def test_a_fork_that_was_made_is_to_be_gone_on_with_and_listed(
    mindprint: Mindprint, stopped: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "runs").mkdir()
    new = tmp_path / "runs" / "new"
    monkeypatch.setattr(execute, "open_model", lambda prepared: signal.raise_signal(signal.SIGINT))
    said = mindprint("resume", stopped, "--fork", new)
    refused(said, 130, f"go on with `mindprint resume {new}`")
    (new / "ledger.json").unlink()  # as it is where no topic was finished
    assert [one["run"] for one in mindprint("runs", "--json").tree] == ["runs/new"]
    said = mindprint("report", new)
    refused(said, 65, "holds no result.json", f"hint: `mindprint resume {new}` goes on")


def test_settings_and_a_curriculum_are_no_run_yet(
    mindprint: Mindprint, curriculum: Path, tmp_path: Path
) -> None:
    assert (tmp_path / "mine" / "config.yaml").is_file()
    assert mindprint("runs", tmp_path, "--json").tree == []
    said = mindprint("report", tmp_path / "mine")
    refused(said, 65, "holds no result.json", "is what `mindprint train` wrote")


def read_only(monkeypatch: pytest.MonkeyPatch, run: Path) -> None:
    """Opening a file of `run` for writing fails, also for root, as on read-only media."""
    opened = os.open

    def refusing(path: Any, flags: int, *more: Any, **named: Any) -> int:
        inside = isinstance(path, str | Path) and run in Path(path).parents
        if inside and flags & (os.O_RDWR | os.O_WRONLY | os.O_CREAT):
            raise OSError(errno.EROFS, "Read-only file system", str(path))
        return opened(path, flags, *more, **named)

    monkeypatch.setattr(os, "open", refusing)


@pytest.mark.parametrize("lock", ["there", "not there"])
def test_a_run_on_read_only_media_is_forked(
    mindprint: Mindprint,
    stopped: Path,
    tmp_path: Path,
    topics: tuple[str, ...],
    monkeypatch: pytest.MonkeyPatch,
    lock: str,
) -> None:
    (stopped / LOCK).touch()
    if lock == "not there":
        (stopped / LOCK).unlink()
    folder = stopped / "topics" / topics[0]
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o555 if path.is_dir() else 0o444)
    read_only(monkeypatch, stopped)
    monkeypatch.setattr(execute, "open_model", lambda prepared: signal.raise_signal(signal.SIGINT))
    said = mindprint("resume", stopped, "--fork", tmp_path / "new")
    refused(said, 130, f"`mindprint resume {tmp_path / 'new'}`")
    copied = tmp_path / "new" / "topics" / topics[0]
    for path in (copied, *copied.rglob("*")):
        assert path.stat().st_mode & stat.S_IWUSR, "the new run is to be written on"
    assert (stopped / LOCK).exists() == (lock == "there")


def test_a_run_being_written_elsewhere_is_not_forked_from_read_only_media(
    mindprint: Mindprint, stopped: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = Hold(stopped)
    writer.take()
    with monkeypatch.context() as patched:
        read_only(patched, stopped)
        said = mindprint("resume", stopped, "--fork", tmp_path / "new")
    writer.let_go()
    refused(said, 2, f"process {os.getpid()} (`", "is writing this run")


def test_the_table_is_shown_of_a_run_that_cannot_be_written(
    mindprint: Mindprint, ended: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = shutil.copytree(ended, tmp_path / "done")

    def refusing(path: Path, text: str) -> None:
        raise OSError(errno.EROFS, "Read-only file system", str(path))

    monkeypatch.setattr("mindprint.report.files.write_text", refusing)
    said = mindprint("report", run)
    assert said.code == 65 and "cannot write the report: Read-only file system" in said.error
    assert "0 of 3 topics passed" in said.out
    assert len(mindprint("report", run, "--json").tree["topics"]) == 3

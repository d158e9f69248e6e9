"""Ctrl-C saves and says how to go on; what is piped into `chat` is answered line by line."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from io import StringIO
from pathlib import Path

import pytest

from mindprint.disk.sealed import read_json
from tests.cli.conftest import Mindprint
from tests.cli.test_train import train
from tests.runs import tree_bytes

ROOT = Path(__file__).parents[2]
LONG = ("gate.retries=0", "sft.epochs=12", "eval.max_tokens=4", "adapter.rank=4")


def command(*words: object) -> subprocess.Popen[str]:
    """A command line in a process of its own."""
    line = [sys.executable, "-m", "mindprint.cli.app", *(str(word) for word in words)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    pipe = subprocess.PIPE
    return subprocess.Popen(line, text=True, stdout=pipe, stderr=pipe, env=environment)


def training(curriculum: Path, model: Path, out: Path) -> list[object]:
    settings = [word for setting in LONG for word in ("--set", setting)]
    words = ["--model", model, "--backend", "torch", "--device", "cpu", "--out", out]
    return ["train", curriculum, *words, "--topic", "unit-01-bees/chapter-01-the-hive", *settings]


def test_stopped_and_killed_it_comes_to_the_same_result(
    mindprint: Mindprint, curriculum: Path, model: Path, tmp_path: Path
) -> None:
    """While one process writes, another is refused; once it is dead, another goes on."""
    stopped, whole = tmp_path / "stopped", tmp_path / "whole"
    with command(*training(curriculum, model, stopped)) as run:
        assert run.stderr is not None
        said = []
        for line in run.stderr:
            said.append(line)
            if "step=9/24" in line and "topic-01-the-queen" in line:
                run.send_signal(signal.SIGSTOP)  # so that it cannot end meanwhile
                again = train(mindprint, curriculum, model, stopped)
                for other in (again, mindprint("resume", stopped)):
                    assert other.code == 2 and f"process {run.pid} (`" in other.error
                    assert "is writing this run" in other.error
                run.send_signal(signal.SIGTERM)
                run.send_signal(signal.SIGCONT)
        assert run.wait() == 130
    assert said[-1] == f"hint: go on with `mindprint resume {stopped}`\n"
    assert read_json(stopped / "result.json")["status"] == "stopped"

    with command("resume", stopped) as run:
        assert run.stderr is not None
        for line in run.stderr:
            if "step=18/24" in line:
                run.kill()
        assert run.wait() == -signal.SIGKILL

    last = mindprint("resume", stopped)
    assert last.code == 1  # a random model passes no gate
    assert f"process {run.pid} (`" in last.err and "ended without letting go" in last.err
    assert mindprint(*training(curriculum, model, whole)).code == 1
    assert tree_bytes(stopped) == tree_bytes(whole)
    one, other_ = (read_json(out / "result.json") for out in (stopped, whole))
    curves = [[s["curve"] for t in r["topics"] for s in t["stages"]] for r in (one, other_)]
    assert curves[0] == curves[1] and one["verdict"] == other_["verdict"]


def test_chat_line_by_line(
    mindprint: Mindprint,
    curriculum: Path,
    model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    train(mindprint, curriculum, model, tmp_path / "r")
    monkeypatch.setattr("sys.stdin", StringIO("Who?\n\nAnd then?\n/new\nWho?\n/exit\nnot asked\n"))
    said = mindprint("chat", tmp_path / "r", "--max-tokens", 3)
    assert said.code == 0, said.err
    # The settings are those the run began with, whatever became of its file.
    (tmp_path / "r" / "config.yaml").unlink()
    again = mindprint("chat", tmp_path / "r", "--max-tokens", 3, "--once", "Who?")
    assert again.code == 0 and again.out.splitlines()[0] == said.out.splitlines()[0]
    # The same question in a new conversation is answered the same way: greedy, nothing kept.
    lines = said.out.splitlines()
    assert "a new conversation" in said.err and lines[0] == lines[-1]


def test_chat_says_what_is_wrong(mindprint: Mindprint, tmp_path: Path) -> None:
    said = mindprint("chat", tmp_path)
    assert said.code == 2 and "is not a run folder" in said.error

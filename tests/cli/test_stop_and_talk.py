"""Ctrl-C saves and says how to go on; what is piped into `chat` is answered line by line."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from io import StringIO
from pathlib import Path

import pytest

from tests.cli.conftest import Mindprint
from tests.cli.test_train import train

ROOT = Path(__file__).parents[2]
LONG = ("gate.retries=0", "sft.epochs=40", "eval.max_tokens=4", "adapter.rank=4")


def start(curriculum: Path, model: Path, out: Path) -> subprocess.Popen[str]:
    settings = [word for setting in LONG for word in ("--set", setting)]
    words = ["train", curriculum, "--model", model, "--backend", "torch", "--device", "cpu"]
    command = [sys.executable, "-m", "mindprint.cli.app", *words, "--out", out, *settings]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    pipe = subprocess.PIPE
    return subprocess.Popen(command, text=True, stdout=pipe, stderr=pipe, env=environment)


def test_an_interrupted_run_goes_on_to_the_same_result(
    mindprint: Mindprint, curriculum: Path, model: Path, tmp_path: Path
) -> None:
    stopped, whole = tmp_path / "stopped", tmp_path / "whole"
    with start(curriculum, model, stopped) as run:
        assert run.stderr is not None
        said = []
        for line in run.stderr:
            said.append(line)
            if "step=30/80" in line and "topic-01-the-queen" in line:
                run.send_signal(signal.SIGINT)
        assert run.wait() == 130
    assert said[-1] == f"hint: go on with `mindprint resume {stopped}`\n"
    assert json.loads((stopped / "result.json").read_text())["status"] == "stopped"

    assert mindprint("resume", stopped).code == 1  # a random model passes no gate
    with start(curriculum, model, whole) as run:
        run.communicate()
    one, other = (json.loads((out / "result.json").read_text("utf-8")) for out in (stopped, whole))
    curves = [[s["curve"] for t in r["topics"] for s in t["stages"]] for r in (one, other)]
    assert curves[0] == curves[1]
    assert one["verdict"] == other["verdict"]


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
    # The same question in a new conversation is answered the same way: greedy, nothing kept.
    lines = said.out.splitlines()
    assert "a new conversation" in said.err and lines[0] == lines[-1]


def test_chat_says_what_is_wrong(mindprint: Mindprint, tmp_path: Path) -> None:
    said = mindprint("chat", tmp_path)
    assert said.code == 2 and "is not a run folder" in said.error

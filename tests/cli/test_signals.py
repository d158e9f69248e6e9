"""A signal is a wish, then an end: it is always said, and how to go on, and never said twice."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from mindprint.cli import errors, execute
from mindprint.cli.prepare import open_model
from mindprint.disk.room import NoRoom
from mindprint.disk.sealed import read_json
from tests.cli.conftest import Mindprint
from tests.cli.stops import at_step, stopping, topic_ended
from tests.cli.test_train import train
from tests.runs import tree_bytes

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_the_first_signal_saves_and_says_how_to_go_on(
    mindprint: Mindprint,
    curriculum: Path,
    model: Path,
    tmp_path: Path,
    topics: tuple[str, ...],
    monkeypatch: pytest.MonkeyPatch,
    number: int,
) -> None:
    out = tmp_path / "a run"
    with monkeypatch.context() as patched:
        stopping(patched, at_step(2, topics[0]), number)
        said = train(mindprint, curriculum, model, out, "--set", "sft.epochs=3")
    assert said.code == 130
    assert said.error.endswith(f"hint: go on with `mindprint resume '{out}'`")
    (newest,) = out.glob("checkpoints/*step-000002/state.json")
    assert read_json(newest)["topic"] == topics[0]


def test_a_second_signal_stops_at_once_and_nothing_is_lost(
    mindprint: Mindprint,
    curriculum: Path,
    model: Path,
    tmp_path: Path,
    topics: tuple[str, ...],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with monkeypatch.context() as patched:
        stopping(patched, at_step(2, topics[1]), times=2)
        said = train(mindprint, curriculum, model, tmp_path / "r")
    assert said.code == 130 and "stopped at once" in said.error
    assert f"`mindprint resume {tmp_path / 'r'}`" in said.error
    assert mindprint("resume", tmp_path / "r").code == 1
    train(mindprint, curriculum, model, tmp_path / "whole")
    assert tree_bytes(tmp_path / "r") == tree_bytes(tmp_path / "whole")


def test_a_signal_in_an_evaluation_ends_it_at_once(
    mindprint: Mindprint,
    curriculum: Path,
    model: Path,
    tmp_path: Path,
    topics: tuple[str, ...],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with monkeypatch.context() as patched:
        stopping(patched, topic_ended(topics[0]))
        # the first topic stays, so that the second one's exam before it is asked
        said = train(mindprint, curriculum, model, tmp_path / "r", "--set", "gate.rollback=false")
    assert said.code == 130 and not (tmp_path / "r/topics" / topics[1] / "before").exists()


def test_a_signal_while_the_model_opens(
    mindprint: Mindprint,
    curriculum: Path,
    model: Path,
    tmp_path: Path,
    stopped: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(execute, "open_model", lambda prepared: signal.raise_signal(signal.SIGTERM))
    said = train(mindprint, curriculum, model, tmp_path / "runs" / "new")
    assert said.code == 130 and "nothing was written yet" in said.error
    assert not (tmp_path / "runs").exists()
    said = mindprint("resume", stopped)
    assert said.code == 130 and f"`mindprint resume {stopped}`" in said.error
    monkeypatch.setattr(execute, "open_model", open_model)
    assert mindprint("resume", stopped).code == 1


def test_a_signal_while_reports_are_written(
    mindprint: Mindprint, stopped: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(
            "mindprint.report.files.write_reports",
            lambda run: signal.raise_signal(signal.SIGINT),
        )
        said = mindprint("resume", stopped)
    assert said.code == 130 and f"`mindprint resume {stopped}`" in said.error
    assert mindprint("resume", stopped).code == 1
    assert (stopped / "report.html").is_file()


INTERRUPTED_TWICE = """
import atexit, os, signal, sys, time
from mindprint.cli import app, errors, runs

def interrupted(folder):
    os.kill(os.getpid(), signal.{first})
    time.sleep(30)

def again():
    os.kill(os.getpid(), signal.SIGINT)
    os.kill(os.getpid(), signal.SIGTERM)

def say(*words, real=errors.say):
    again()
    real(*words)

atexit.register(again)
runs.find, errors.say = interrupted, say
sys.argv = ["mindprint", "runs", "."]
app.main()
"""


@pytest.mark.parametrize("first", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_every_verb_says_that_it_was_interrupted_and_dies_of_no_other_signal(
    tmp_path: Path, first: str
) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", INTERRUPTED_TWICE.format(first=first)],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (ended.returncode, ended.stderr, ended.stdout) == (130, "interrupted\n", "")


def test_signals_while_an_end_is_told_change_nothing_and_are_heard_again_after(
    mindprint: Mindprint, stopped: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    told = errors.three_lines

    def interrupted(*words: str) -> int:
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGTERM)
        return told(*words)  # type: ignore[arg-type]  # the last is a code

    monkeypatch.setattr(errors, "three_lines", interrupted)
    monkeypatch.setattr(execute, "open_model", lambda prepared: signal.raise_signal(signal.SIGINT))
    try:
        said = mindprint("resume", stopped)
    except KeyboardInterrupt:  # it would end the tests
        pytest.fail("a signal was heard while the first one was told")
    assert said.code == 130 and f"go on with `mindprint resume {stopped}`" in said.error
    assert [signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM)] == handlers


@pytest.mark.parametrize("fault", [KeyboardInterrupt(), NoRoom("no room on the disk"), OSError(28)])
def test_a_run_that_is_removed_again_is_not_named_to_be_gone_on_with(
    mindprint: Mindprint,
    curriculum: Path,
    model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    fault: BaseException,
) -> None:
    def ended(order: object, *rest: object) -> None:
        assert (tmp_path / "r" / "inputs.json").is_file()
        raise OSError(28, "No space left on device") if isinstance(fault, OSError) else fault

    monkeypatch.setattr("mindprint.pipeline.run_curriculum", ended)
    said = train(mindprint, curriculum, model, tmp_path / "r")
    assert said.code in (2, 130) and not (tmp_path / "r").exists()
    assert "nothing was written yet: start it again" in said.error and "resume" not in said.error

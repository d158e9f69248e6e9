"""A command line run in this process, and the curricula and models that it is given."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from mindprint.cli import execute
from mindprint.cli.app import run
from mindprint.inputs import read_inputs, write_inputs
from tests.tiny import make_model, make_tokenizer


@dataclass(frozen=True)
class Said:
    """What a command printed, and its exit code."""

    code: int
    out: str
    err: str

    @property
    def tree(self) -> Any:
        return json.loads(self.out)

    @property
    def error(self) -> str:
        """From the `error:` line on."""
        return self.err[self.err.index("error:") :].strip() if "error:" in self.err else ""


Mindprint = Callable[..., Said]


@pytest.fixture
def mindprint(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Mindprint:
    """`mindprint("train", folder, ...)`: run it in an empty folder, with plain output."""
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.chdir(tmp_path)

    def command(*words: object) -> Said:
        capsys.readouterr()
        code = run([str(word) for word in words])
        captured = capsys.readouterr()
        return Said(code, captured.out, captured.err)

    return command


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny random Qwen2 with a tokenizer."""
    folder = tmp_path_factory.mktemp("models") / "tiny-qwen2"
    make_tokenizer(make_model(folder, "qwen2"))
    return folder


@pytest.fixture
def curriculum(mindprint: Mindprint, tmp_path: Path) -> Path:
    """`init`'s example, whose three topics have conversations, a CSV and alpaca rows."""
    said = mindprint("init", tmp_path / "mine")
    assert said.code == 0, said.err
    return tmp_path / "mine" / "curriculum"


@pytest.fixture
def no_model(monkeypatch: pytest.MonkeyPatch) -> None:
    """No weight may be loaded."""

    def refused(prepared: object) -> None:
        raise AssertionError("the model was opened")

    monkeypatch.setattr(execute, "open_model", refused)


@pytest.fixture
def topics(curriculum: Path) -> tuple[str, ...]:
    from tests.cli.stops import topics_of

    return topics_of(curriculum)


@pytest.fixture(scope="session")
def begun(tmp_path_factory: pytest.TempPathFactory, model: Path) -> Path:
    """A folder with a curriculum, and with a run of it stopped in its second topic."""
    from tests.cli.stops import at_step, stopping, topics_of
    from tests.cli.test_train import QUICK

    folder = tmp_path_factory.mktemp("begun")
    assert run(["init", str(folder / "mine")]) == 0
    lessons = folder / "mine" / "curriculum"
    words = ["train", lessons, "--model", model, "--out", folder / "r"]
    words += ["--backend", "torch", "--device", "cpu"]
    words += [word for setting in (*QUICK, "sft.epochs=2") for word in ("--set", setting)]
    with pytest.MonkeyPatch.context() as patched:
        stopping(patched, at_step(1, topics_of(lessons)[1]))
        assert run([str(word) for word in words]) == 130
    return folder


@pytest.fixture
def stopped(begun: Path, curriculum: Path, tmp_path: Path) -> Path:
    """One's own copy of the run, as if it had been begun here."""
    copy = shutil.copytree(begun / "r", tmp_path / "r")
    write_inputs(copy, replace(read_inputs(copy), curriculum=curriculum))
    return copy


@pytest.fixture(scope="session")
def ended(begun: Path) -> Path:
    """The same run, gone on with to its end."""
    copy = shutil.copytree(begun / "r", begun / "ended")
    assert run(["resume", str(copy)]) == 1  # a random model passes no gate
    return copy


@pytest.fixture
def done(ended: Path, curriculum: Path, tmp_path: Path) -> Path:
    """One's own copy of the finished run."""
    copy = shutil.copytree(ended, tmp_path / "done")
    write_inputs(copy, replace(read_inputs(copy), curriculum=curriculum))
    return copy

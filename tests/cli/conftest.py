"""A command line run in this process, and the curricula and models that it is given."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from mindprint.cli.app import run
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

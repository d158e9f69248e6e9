"""What is said when a command line cannot be followed: what, where, hint, and the exit code."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.conftest import Mindprint

USAGE = {
    "chck": (
        "error: no such command `chck`\n"
        "  --> mindprint\n"
        "hint: did you mean `check`? `mindprint --help` lists what there is"
    ),
    "check --shwo x": (
        "error: no such option `--shwo`\n"
        "  --> mindprint check\n"
        "hint: did you mean `--show`? `mindprint check --help` lists what there is"
    ),
    "train": (
        "error: missing argument `CURRICULUM`\n"
        "  --> mindprint train\n"
        "hint: `mindprint train --help` lists what there is"
    ),
    "train x": (
        "error: no model is named\n"
        "  --> model.path\n"
        "hint: name a folder or hub id: `--model PATH|ID`, or `model.path` in the configuration"
    ),
    "train x --model m --set sft.epoks=3": (
        "error: unknown key `sft.epoks`\n  --> --set sft.epoks=3\nhint: did you mean `sft.epochs`?"
    ),
    "train x --model m --set sft.epochs=some": (
        "error: `sft.epochs` cannot be 'some'\n"
        "  --> --set sft.epochs=some\n"
        "hint: `sft.epochs` is a whole number, above 0"
    ),
    "train x --model m --device cdua": (
        "error: there is no device `cdua`\n"
        "  --> --device\n"
        "hint: did you mean `cuda`? use one of: auto, cuda, mps, cpu, gpu"
    ),
    "report nowhere": (
        "error: there is no such run folder\n  --> nowhere\nhint: `mindprint runs` lists those here"
    ),
    "runs nowhere": (
        "error: there is no such folder\n"
        "  --> nowhere\n"
        "hint: `mindprint train` makes `runs/`; or name the folder that holds your runs"
    ),
    "chat nowhere --compare bsae": (
        "error: cannot compare with `bsae`\n  --> --compare\nhint: use `--compare base`"
    ),
    "resume nowhere": (
        "error: `nowhere` is not a run folder\n"
        "  --> nowhere/inputs.json\n"
        "hint: a run folder is what `mindprint train` wrote; `mindprint runs` lists those here"
    ),
}


@pytest.mark.parametrize("line", USAGE)
def test_three_lines(mindprint: Mindprint, line: str) -> None:
    said = mindprint(*line.split())
    assert said.error == USAGE[line]
    assert said.code == (65 if line.startswith("report") else 2)
    assert said.out == ""


def test_an_unknown_backend_is_69(mindprint: Mindprint) -> None:
    said = mindprint("train", "x", "--model", "m", "--backend", "tortch")
    assert said.code == 69
    assert said.error == (
        "error: there is no backend `tortch`\n"
        "  --> --backend\n"
        "hint: did you mean `torch`? use one of: auto, mlx, torch"
    )


def test_no_arguments_is_help(mindprint: Mindprint) -> None:
    said = mindprint()
    assert said.code == 2 and "Commands:" in said.out + said.err


def test_version(mindprint: Mindprint) -> None:
    said = mindprint("--version")
    assert said.code == 0 and said.out.count(".") == 2


def test_ten_faults_are_shown_by_train_and_all_by_check(
    mindprint: Mindprint, curriculum: Path
) -> None:
    rows = curriculum / "unit-01-bees/chapter-01-the-hive/topic-01-the-queen/train.jsonl"
    rows.write_text('{"messages": []}\n' * 14, "utf-8")
    train = mindprint("train", curriculum, "--model", "m", "--backend", "torch")
    check = mindprint("check", curriculum)
    assert train.code == check.code == 65
    assert train.err.count("  --> ") == 10 and "\n  ... 4 more\n" in train.err
    assert check.err.count("  --> ") == 14 and "more" not in check.err
    assert f"  --> {rows.relative_to(curriculum)}:1:" in check.err
    assert "Traceback" not in train.err + check.err


def test_a_bug_keeps_its_traceback(
    mindprint: Mindprint, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "runs").mkdir()
    monkeypatch.setattr("mindprint.cli.runs.find", lambda folder: 1 / 0)
    said = mindprint("runs")
    assert said.code == 70
    assert "ZeroDivisionError" in said.err
    assert said.err.endswith(
        "this is a bug in mindprint\nhint: please report it with the lines above\n"
    )


def test_an_interrupt_is_130(mindprint: Mindprint, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(folder: Path) -> list[Path]:
        raise KeyboardInterrupt

    Path("runs").mkdir()
    monkeypatch.setattr("mindprint.cli.runs.find", interrupted)
    said = mindprint("runs")
    assert said.code == 130 and said.err == "interrupted\n"

"""`train` and what reads its folder, on both backends, with a tiny random model."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from backends import get
from mindprint import rundir
from mindprint.disk.sealed import read_json
from tests.cli.conftest import Mindprint, Said

BACKENDS = ("torch", "mlx")
QUICK = ("gate.retries=0", "sft.epochs=1", "eval.max_tokens=6", "adapter.rank=4")


def train(
    mindprint: Mindprint, curriculum: Path, model: Path, out: Path, *words: object, **flags: str
) -> Said:
    settings = [word for setting in QUICK for word in ("--set", setting)]
    chosen = {"--backend": "torch", "--device": "cpu", **flags}
    named = [word for pair in chosen.items() for word in pair]
    return mindprint("train", curriculum, "--model", model, "--out", out, *named, *settings, *words)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_run_and_everything_that_reads_it(
    mindprint: Mindprint,
    curriculum: Path,
    model: Path,
    tmp_path: Path,
    backend: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    out = tmp_path / "runs" / "one"
    opened = []
    kind = type(get(backend))
    real = kind.open
    monkeypatch.setattr(kind, "open", lambda *words: opened.append(words) or real(*words))
    said = train(mindprint, curriculum, model, out, **{"--backend": backend})
    assert len(opened) == 1  # three topics, their stages and every verdict over one model
    # A random model passes no gate: the run is whole, and says so with exit code 1.
    assert said.code == 1, said.err
    assert "mean: 0 of 3 topics passed" in said.out and f"report: {out}/report.html" in said.out
    assert re.search(rf"^backend +{backend}\b", said.err, re.M)
    assert "stage=sft step=" in said.err
    assert "\x1b" not in said.out + said.err
    for name in ("result.json", "ledger.json", "plan.json", "report.html", "report.md", "card.md"):
        assert (out / name).stat().st_size > 0

    shown = mindprint("report", out, "--json")
    assert shown.code == 0 and shown.tree == read_json(out / "result.json")
    listed = mindprint("runs", out.parent, "--json").tree
    assert [(run["status"], run["passed"]) for run in listed] == [("finished", "0/3")]
    talk = mindprint("chat", out, "--once", "Who is Perpetua?", "--max-tokens", 4, "--compare=base")
    assert talk.code == 0, talk.err
    assert talk.out.startswith("base: ") and "\ntrained: " in talk.out
    again = mindprint("resume", out)
    assert again.code == 1 and "step=" not in again.err  # nothing was left to do


def test_both_backends_tell_the_same_story(
    mindprint: Mindprint, curriculum: Path, model: Path, tmp_path: Path
) -> None:
    losses = {}
    for backend in BACKENDS:
        out = tmp_path / backend
        said = train(mindprint, curriculum, model, out, "--json", **{"--backend": backend})
        stages = [stage for topic in said.tree["topics"] for stage in topic["stages"]]
        losses[backend] = [loss for stage in stages for _, loss in stage["curve"]]
    # float32 and no dropout: 1e-5 relative is the bar for SFT everywhere.
    assert losses["torch"] == pytest.approx(losses["mlx"], rel=1e-5)


def test_plan_says_what_train_will_do(
    mindprint: Mindprint, curriculum: Path, model: Path, tmp_path: Path
) -> None:
    words = ("plan", curriculum, "--model", model, "--backend", "torch", "--set", "sft.epochs=2")
    said = mindprint(*words, "--json")
    sft = [stage for stage in said.tree["stages"] if stage["name"] == "sft"]
    assert said.code == 0 and [stage["steps"] for stage in sft] == [4, 4, 4]  # 6 rows in 4s, twice
    assert not (tmp_path / "runs").exists()
    assert "12 steps" in mindprint(*words).out
    probed = mindprint(*words, "--probe", "--device", "cpu", "--json").tree["probe"]
    assert probed["sft_step"] > 0 and probed["total"] > 0


def test_only_some_topics(
    mindprint: Mindprint, curriculum: Path, model: Path, tmp_path: Path
) -> None:
    said = train(
        mindprint, curriculum, model, tmp_path / "r", "--topic", "unit-01-bees/chapter-02-the-year"
    )
    assert "mean: 0 of 1 topic passed" in said.out


FAILURES = {
    "a typo in a key": (["--set", "sft.epoks=3"], 2, "unknown key `sft.epoks`"),
    "a missing file": (["--config", "nowhere.yaml"], 2, "cannot read the configuration"),
    "a missing model": (["--model", "/nowhere"], 2, "no model at `/nowhere`"),
    "an unknown backend": (["--backend", "jax"], 69, "there is no backend `jax`"),
    "an unknown topic": (["--topic", "unit-09"], 2, "there is no topic `unit-09`"),
    "no such layer": (["--set", "adapter.targets=[qq_proj]"], 2, "no layer matches"),
}


@pytest.mark.parametrize("name", FAILURES)
def test_each_failure_ends_before_training_with_nothing_written(
    mindprint: Mindprint, curriculum: Path, model: Path, tmp_path: Path, name: str
) -> None:
    words, code, what = FAILURES[name]
    said = train(mindprint, curriculum, model, tmp_path / "r", *words)
    _ended(said, code, what)
    assert not (tmp_path / "r").exists()


def test_a_row_without_an_answer(
    mindprint: Mindprint, curriculum: Path, model: Path, tmp_path: Path
) -> None:
    rows = curriculum / "unit-01-bees/chapter-02-the-year/topic-01-honey/train.json"
    rows.write_text('[\n{"instruction": "Say when.", "input": ""}\n]', "utf-8")
    said = train(mindprint, curriculum, model, tmp_path / "r")
    _ended(said, 65, "train.json:2")
    assert not (tmp_path / "r").exists()


def test_a_full_disk(
    mindprint: Mindprint,
    curriculum: Path,
    model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(rundir, "ROOM", 1 << 62)  # more than any disk has free
    said = train(mindprint, curriculum, model, tmp_path / "r")
    _ended(said, 2, "cannot write the run folder")
    assert not (tmp_path / "r").exists() or not any((tmp_path / "r").iterdir())


def test_a_folder_that_cannot_be_written(
    mindprint: Mindprint, curriculum: Path, model: Path, tmp_path: Path
) -> None:
    locked = tmp_path / "locked"
    locked.mkdir(mode=0o555)
    # To root no folder is read-only but those of the kernel.
    out = Path("/proc/self/r") if os.geteuid() == 0 else locked / "r"
    _ended(train(mindprint, curriculum, model, out), 2, "cannot write the run folder")


def test_a_folder_that_is_not_empty(
    mindprint: Mindprint, curriculum: Path, model: Path, tmp_path: Path
) -> None:
    (tmp_path / "r").mkdir()
    (tmp_path / "r" / "letter.txt").write_text("mine", "utf-8")
    said = train(mindprint, curriculum, model, tmp_path / "r")
    _ended(said, 2, "is not empty")
    assert [path.name for path in (tmp_path / "r").iterdir()] == ["letter.txt"]


def _ended(said: Said, code: int, what: str) -> None:
    assert said.code == code, said.err
    assert what in said.error and "  --> " in said.error
    assert len(said.error.splitlines()) <= 3
    assert "Traceback" not in said.err and said.out == ""

"""`drop` and `ledger`: what is left of a run without one of its topics, and what is said of it."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mindprint.cli.app import run as command
from mindprint.disk.sealed import read_json
from mindprint.inputs import read_inputs, write_inputs
from mindprint.ledger import LEDGER, read, write
from mindprint.rundir import RunDir
from mindprint.target import Target
from tests.cli.conftest import Mindprint
from tests.cli.stops import refused
from tests.cli.test_train import QUICK

OWN = ("gate.rollback=false", "dpo.when=never", "handoff=continue")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, model: Path) -> Path:
    """A folder with a curriculum and a finished run of it, one adapter for its three topics."""
    folder = tmp_path_factory.mktemp("trained")
    assert command(["init", str(folder / "mine")]) == 0
    words = ["train", folder / "mine/curriculum", "--model", model, "--out", folder / "r"]
    words += ["--backend", "torch", "--device", "cpu"]
    words += [word for setting in (*QUICK, *OWN) for word in ("--set", setting)]
    assert command([str(word) for word in words]) == 1  # a random model passes no gate
    return folder


@pytest.fixture
def run(trained: Path, curriculum: Path, tmp_path: Path) -> Path:
    """One's own copy of the run, as if it had been made here."""
    copy = shutil.copytree(trained / "r", tmp_path / "r")
    write_inputs(copy, replace(read_inputs(copy), curriculum=curriculum))
    return copy


def bytes_of(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_run_without_a_topic_is_whole(
    mindprint: Mindprint, run: Path, model: Path, topics: tuple[str, ...], tmp_path: Path
) -> None:
    before = bytes_of(run)
    said = mindprint("drop", run, topics[1], "--out", "new", "--json")
    assert said.code == 0, said.err
    assert bytes_of(run) == before
    assert "not the model that never saw the topic" in said.err
    quizzes = {one["id"]: one for one in said.tree["quizzes"]}
    assert [name for name in quizzes if name != "retention"] == list(topics)
    result = read_json(tmp_path / "new/result.json")
    assert [one["id"] for one in result["topics"]] == [topics[0], topics[2]]
    for one in result["topics"]:
        assert one["scores"]["final"] == quizzes[one["id"]]["after"]
        assert one["questions"][0]["answers"]["final"]["text"] is not None
        assert one["verdict"].startswith(f"`{topics[1]}` was dropped")
    notes = " ".join(result["notes"])
    assert "taken away exactly" in notes and f"Without it, {topics[1]}: accuracy" in notes
    assert f"now that `{topics[1]}` is dropped" in result["verdict"]
    assert not [row for row in result["forgetting"] if topics[1] in (row["after"], *row["scores"])]
    again = mindprint("resume", "new")
    assert again.code == 1 and "nothing is left to do" in again.err
    assert "nothing reads it" not in again.err
    listed = mindprint("ledger", "new", "--json").tree
    states = [(one["topic"], one["stage"], one["state"]) for one in listed["entries"]]
    assert states == [(topics[0], "sft", "in force"), (topics[2], "difference", "in force")]
    assert listed["handoff"] == "stack" and listed["dropped"][0]["topics"] == [topics[1]]
    assert "dropped" in mindprint("ledger", "new").out
    # what carried the dropped topic is not in the new folder; evidence of the others is
    assert read_inputs(tmp_path / "new").made_by_drop
    stage = tmp_path / "new/topics" / topics[2] / "sft"
    assert not (stage / "adapter_model.safetensors").exists() and (stage / "eval.json").exists()
    assert mindprint("report", "new").code == 0
    assert mindprint("chat", "new", "--once", "Who?", "--max-tokens", "2").code == 0
    asked = mindprint("eval", "new", "--set", "eval.max_tokens=6", "--json")
    assert asked.code == 0, asked.err
    for one in asked.tree["topics"]:
        assert one["score"]["accuracy"] == quizzes[one["id"]]["after"]["accuracy"]
    # a second topic goes from the new run, which keeps both in its memory
    less = mindprint("drop", "new", topics[0], "--out", "less")
    assert less.code == 0, less.err
    assert f"{topics[0]} (dropped)" in less.out and "taken away exactly" in less.out
    gone = mindprint("ledger", "less", "--json").tree["dropped"]
    assert [one["topics"] for one in gone] == [[topics[1]], [topics[0]]]
    refused(mindprint("drop", "less", topics[2], "--out", "none"), 2, "only topic in force")
    kept_saying(mindprint, tmp_path, topics)
    seen_to(mindprint, tmp_path / "less")


def kept_saying(mindprint: Mindprint, folder: Path, topics: tuple[str, ...]) -> None:
    """What was dropped is said by a fork too, and of a result that is made again."""
    (folder / "less/result.json").write_text("{}")
    made = mindprint("resume", "less")
    assert made.code == 1 and "result.json` is not as it was written" in made.err
    forked = mindprint("resume", "new", "--fork", "forked")
    assert forked.code == 1 and "reads it" not in forked.err, forked.err
    assert "nothing is left" not in mindprint("resume", "forked").err
    for run, gone in (("less", (topics[1], topics[0])), ("forked", topics[1:2])):
        listed = mindprint("ledger", run, "--json").tree["dropped"]
        assert [one["topics"] for one in listed] == [[topic] for topic in gone]
        result = read_json(folder / run / "result.json")
        assert all(any(f"`{topic}` was dropped" in s for s in result["notes"]) for topic in gone)
        assert "now that `" in result["verdict"] and "each judged as it" in result["verdict"]
        scores = {one["id"]: one["scores"]["final"] for one in result["topics"]}
        then = {one["id"]: one["scores"]["final"] for one in result_of(folder / run)["topics"]}
        assert scores == then


def result_of(run: Path) -> Any:
    """As the topics' records say."""
    names = read_inputs(run).topics
    return {"topics": [read_json(run / "topics" / name / "record.json")["topic"] for name in names]}


def seen_to(mindprint: Mindprint, run: Path) -> None:
    """A run that a drop made is looked over as every other is when it is to be gone on with."""
    refused(mindprint("resume", run, "--set", "sft.epochs=7"), 2, "not as it began", "sft.epochs")
    said = mindprint("resume", run, "--backend", "nonsense")
    assert said.code != 0 and "nonsense" in said.error
    entry = next(one for one in read(RunDir(run)).acting())
    with (run / entry.folder / "adapter_model.safetensors").open("ab") as file:
        file.write(b"?")
    refused(mindprint("resume", run), 65, "its hash is not the one in the ledger", "mindprint drop")


@pytest.fixture
def unopened(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Target, "open", lambda *_: pytest.fail("the model was opened"))


def test_what_cannot_be_dropped_is_refused_unopened(
    mindprint: Mindprint, run: Path, topics: tuple[str, ...], tmp_path: Path, unopened: None
) -> None:
    refused(mindprint("drop", run, "nobody", "--out", "new"), 2, "no topic `nobody`", topics[0])
    refused(mindprint("drop", tmp_path, topics[0], "--out", "new"), 2, "is not a run folder")
    refused(mindprint("drop", run, topics[0], "--out", run / "new"), 2, "lies in the run itself")
    refused(mindprint("drop", run, topics[0], "--out", "mine"), 2, "is not empty")
    record = run / "topics" / topics[2] / "record.json"
    held = record.read_bytes()
    record.unlink()
    refused(mindprint("drop", run, topics[0], "--out", "new"), 2, "the run is not finished")
    record.write_bytes(held)
    adapter = run / "topics" / topics[1] / "sft/adapter_model.safetensors"
    adapter.write_bytes(adapter.read_bytes()[:-1] + b"?")
    said = mindprint("drop", run, topics[0], "--out", "new")
    refused(said, 2, "an adapter is not the one that was written", str(adapter.parent))
    assert not (tmp_path / "new").exists()


def test_a_topic_that_was_rolled_back_has_nothing_to_drop(
    mindprint: Mindprint, run: Path, topics: tuple[str, ...], unopened: None
) -> None:
    held = read(RunDir(run))
    entries = [one.model_copy(update={"accepted": one.topic != topics[2]}) for one in held.entries]
    write(RunDir(run), held.model_copy(update={"entries": tuple(entries)}))
    said = mindprint("drop", run, topics[2], "--out", "new")
    refused(said, 2, f"nothing of `{topics[2]}` is in force", f"mindprint ledger {run}")
    listed = mindprint("ledger", run, "--json").tree["entries"]
    assert [one["state"] for one in listed] == ["replaced", "in force", "rolled back"]


def test_other_questions_are_refused(
    mindprint: Mindprint, run: Path, curriculum: Path, topics: tuple[str, ...], unopened: None
) -> None:
    quiz = next(path for path in (curriculum / topics[0]).iterdir() if path.stem == "quiz")
    quiz.write_text(quiz.read_text() + "\n")
    said = mindprint("drop", run, topics[0], "--out", "new")
    refused(said, 2, "1 thing is not as it began", "the run's own questions")
    assert f"curriculum: {topics[0]}" in said.err


def test_a_drop_that_fails_on_the_way_leaves_nothing(
    mindprint: Mindprint, run: Path, topics: tuple[str, ...], tmp_path: Path, monkeypatch: Any
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("mindprint.drop.write_result", interrupted)
    assert mindprint("drop", run, topics[0], "--out", "in/here/new").code == 130
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine", "r"]


def test_the_ledger_says_what_is_in_force(
    mindprint: Mindprint, run: Path, topics: tuple[str, ...], tmp_path: Path
) -> None:
    said = mindprint("ledger", run)
    assert said.code == 0 and said.err == ""
    assert [line.split()[2:4] for line in said.out.splitlines()[2:5]] == [
        ["replaced", "4"],
        ["replaced", "4"],
        ["in", "force"],
    ]
    assert f"never changed (hash {read(RunDir(run)).model_id[:12]})" in said.out
    assert f"in force: 1 adapter ({topics[2]}). Handoff: continue." in said.out
    (run / LEDGER).unlink()
    refused(mindprint("ledger", run), 2, "no ledger.json yet", f"mindprint resume {run}")
    refused(mindprint("ledger", tmp_path), 2, "is not a run folder")

"""A run folder looked over: what can be made again goes aloud, what cannot is named."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from mindprint import ledger as ledgers
from mindprint.disk.sealed import Damaged, adapter_digest, read_json, write_json
from mindprint.evals.sheet import Exam
from mindprint.exams import write_exam
from mindprint.finished import Finished
from mindprint.inputs import Origin
from mindprint.ledger import Entry, Ledger
from mindprint.repair import repair
from mindprint.report.kept import Retained
from mindprint.report.model import StageRecord, TopicRecord
from mindprint.rundir import RunDir
from mindprint.stage_folder import write_stage
from tests.unit.test_ledger import ZERO, entry

TOPICS = ("u/c/a", "u/c/b", "u/c/d")
A, B, D = TOPICS
EXAM = Exam(ZERO, ())


def flip(path: Path) -> None:
    content = path.read_bytes()
    middle = len(content) // 2
    path.write_bytes(content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :])


def record_of(name: str) -> StageRecord:
    return StageRecord(
        name="dpo" if name.startswith("dpo") else "sft",
        attempt=0,
        steps=1,
        epochs=1,
        rows=1,
        rows_cut=0,
        tokens=1,
        seconds=1.0,
        tokens_per_second=1.0,
        loss_first=1.0,
        loss_last=1.0,
    )


def stage(run: RunDir, topic: str, name: str) -> Path:
    folder = run.topic(topic) / name
    folder.mkdir(parents=True)
    (folder / "adapter_config.json").write_text("{}", "utf-8")
    (folder / "adapter_model.safetensors").write_bytes(f"weights of {topic} {name}".encode())
    (folder / "metrics.jsonl").write_text('{"step": 1}\n', "utf-8")
    write_stage(folder, record_of(name))
    asked(folder)
    return folder


def asked(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "answers.jsonl").write_text("", "utf-8")
    empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    write_exam(folder / "eval.json", EXAM, {"answers.jsonl": empty})


def made(run: RunDir, topic: str, name: str, replaces: str | None = None) -> Entry:
    folder = stage(run, topic, name)
    own = {"folder": folder.relative_to(run.path).as_posix(), "sha256": adapter_digest(folder)}
    return entry(f"{topic}:{name}", replaces=replaces).model_copy(update=own)


def row(topic: str) -> Retained:
    return Retained(after=topic, stage="final", scores={})


def finish(run: RunDir, topic: str) -> tuple[Entry, ...]:
    entries = (made(run, topic, "sft"), made(run, topic, "dpo", f"{topic}:sft"))
    folder = run.topic(topic)
    asked(folder / "before")
    write_exam(folder / "final.json", EXAM)
    Finished(TopicRecord(id=topic, title=""), (row(topic),), entries, "m").write(folder)
    return entries


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    """Two topics finished, of the third SFT and DPO, and an SFT more."""
    run = RunDir.create(tmp_path / "run")
    book = Ledger(model_id="m", handoff="stack")
    for one in (*finish(run, A), *finish(run, B)):
        book = book.with_entry(one)
    ledgers.write(run, book)
    asked(run.topic(D) / "before")
    for name in ("sft", "dpo", "sft-2"):
        stage(run, D, name)
    write_json(run.checkpoints / "000001-step-000002" / "state.json", {})
    write_json(run.path / "base" / f"{A}.json", {})
    run.events.write_text("", "utf-8")
    return run


def files(run: RunDir) -> set[str]:
    return {p.relative_to(run.path).as_posix() for p in run.path.rglob("*") if p.is_file()}


def test_what_is_whole_is_left_in_silence(run: RunDir) -> None:
    before = files(run)
    assert repair(run, TOPICS) == ()
    assert files(run) == before


@pytest.mark.parametrize("spoil", [flip, Path.unlink, lambda path: path.write_bytes(b"")])
def test_a_ledger_is_made_again_from_the_records(
    run: RunDir, spoil: Callable[[Path], object]
) -> None:
    spoil(run.path / "ledger.json")
    (said,) = repair(run, TOPICS)
    assert said.startswith("`ledger.json` is") and "made again from the topics' records" in said
    assert not (run.path / "ledger.json").exists()


def test_a_topic_trained_after_an_unknown_one_is_refused(run: RunDir) -> None:
    flip(run.path / "ledger.json")
    (run.topic(A) / "record.json").unlink()
    with pytest.raises(Damaged, match=f"it is missing, and `{B}` was trained after it") as caught:
        repair(run, TOPICS)
    assert caught.value.where == str(run.topic(A) / "record.json")
    assert "`ledger.json` is missing or damaged as well" in caught.value.what


@pytest.mark.parametrize("name", ["adapter_config.json", "adapter_model.safetensors"])
@pytest.mark.parametrize("spoil", [flip, Path.unlink])
def test_an_adapter_that_acts_must_be_whole(
    run: RunDir, name: str, spoil: Callable[[Path], object]
) -> None:
    spoil(run.topic(B) / "dpo" / name)
    with pytest.raises(Damaged, match=f"`{name}` is not as it was written") as caught:
        repair(run, TOPICS)
    assert f"--fork NEW --until {A}`" in caught.value.hint


def test_what_nothing_reads_any_more_is_told_and_left(run: RunDir) -> None:
    before = files(run)
    for name in ("sft/adapter_model.safetensors", "dpo/metrics.jsonl", "before/eval.json"):
        flip(run.topic(A) / name)
    said = repair(run, TOPICS)
    assert len(said) == 3 and all("nothing reads it any more" in one for one in said)
    assert files(run) == before


def test_a_topic_without_a_record_is_gone_through_again_if_every_stage_is_whole(
    run: RunDir,
) -> None:
    flip(run.topic(A) / "record.json")
    flip(run.topic(A) / "sft" / "eval.json")
    said = repair(run, TOPICS)
    assert any("record.json` is not as it was written" in one for one in said)
    assert any("sft/eval.json` is not as it was" in one and "asked again" in one for one in said)
    assert not (run.topic(A) / "record.json").exists()
    assert (run.topic(A) / "final.json").exists()

    flip(run.topic(A) / "sft" / "adapter_model.safetensors")  # replaced, but gone through again
    with pytest.raises(Damaged, match=r"`adapter_model.safetensors` is not") as caught:
        repair(run, TOPICS)
    assert caught.value.where.endswith("c/a/sft/adapter_model.safetensors")


def test_a_lost_final_exam_is_asked_again_with_its_topic(run: RunDir) -> None:
    (run.topic(B) / "final.json").unlink()
    said = repair(run, TOPICS)
    assert "final.json` is missing" in said[0]
    assert not (run.topic(B) / "record.json").exists()


@pytest.mark.parametrize(
    ("name", "left"), [("sft", set()), ("dpo", {"sft"}), ("sft-2", {"sft", "dpo"})]
)
@pytest.mark.parametrize("file", ["stage.json", "adapter_model.safetensors"])
def test_a_damaged_stage_under_way_goes_with_all_after_it(
    run: RunDir, name: str, left: set[str], file: str
) -> None:
    flip(run.topic(D) / name / file)
    said = repair(run, TOPICS)
    assert f"{name}/{file}` is not as it was written" in said[0] and "trained again" in said[0]
    assert {path.name for path in run.topic(D).iterdir()} == {"before", *left}
    assert not run.checkpoints.exists()


def test_a_stage_whose_first_one_is_missing_goes_too(run: RunDir) -> None:
    shutil.rmtree(run.topic(D) / "sft")
    said = repair(run, TOPICS)
    assert "the stage before it is missing" in said[0]
    assert {path.name for path in run.topic(D).iterdir()} == {"before"}


def test_exams_of_a_topic_under_way_are_asked_again(run: RunDir) -> None:
    flip(run.topic(D) / "dpo" / "eval.json")
    (run.topic(D) / "sft-2" / "eval.json").unlink()  # not asked yet: nothing to say
    (said,) = repair(run, TOPICS)
    assert "dpo/eval.json" in said and "asked again" in said
    assert run.checkpoints.exists()


def test_views_and_the_base_are_made_again(run: RunDir) -> None:
    for name in ("plan.json", "result.json"):
        (run.path / name).write_text("{}", "utf-8")
    flip(run.path / "base" / f"{A}.json")
    run.events.unlink()
    said = repair(run, TOPICS)
    assert len(said) == 4
    assert "the base is asked again" in said[2] and "what was told so far is lost" in said[3]


def test_a_topic_of_another_run_cannot_be_made_again(
    run: RunDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a fork took over was asked in another run; without its answers it may stand, if it was
    taken over without."""
    origin = Origin(run="/elsewhere/first", ledger="", topics=(A, B))
    write_json(run.path / "inputs.json", {})
    monkeypatch.setattr(
        "mindprint.repair.read_inputs",
        lambda path: SimpleNamespace(forked_from=origin, began_with=None, made_by_drop=False),
    )
    (run.topic(A) / "final.json").unlink()
    with pytest.raises(Damaged, match=r"final.json.*missing") as caught:
        repair(run, TOPICS)
    assert caught.value.hint == "put back a copy: the topic was taken over from /elsewhere/first"
    record = run.topic(A) / "record.json"
    write_json(record, {**read_json(record), "retained": []})
    assert repair(run, TOPICS) == ()
    flip(record)
    with pytest.raises(Damaged, match=r"record.json"):
        repair(run, TOPICS)

"""A fork takes what is accepted and whole, and nothing that does not go with the new run."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mindprint import ledger as ledgers
from mindprint.config import resolve
from mindprint.disk.sealed import Damaged, adapter_digest, write_json
from mindprint.errors import ConfigError
from mindprint.finished import Finished, read_finished
from mindprint.fork import Past, check_adapters, incomparable
from mindprint.inputs import read_inputs
from mindprint.ledger import Handoff, Ledger
from mindprint.report.kept import Retained
from mindprint.report.model import TopicRecord
from mindprint.rundir import RunDir
from tests.unit.test_ledger import entry
from tests.unit.test_sameness import inputs

ORDER = ("a", "b", "c")


def make(path: Path, handoff: Handoff = "stack") -> RunDir:
    """Topics `a` (SFT kept, DPO rolled back) and `b` are finished, `c` is under way."""
    run = RunDir(path)
    book = Ledger(model_id="m", handoff=handoff)
    wanted = [("a:sft", None, True), ("a:dpo", "a:sft", False), ("b:sft", None, True)]
    for name, replaces, accepted in wanted:
        one = entry(name, replaces=replaces, accepted=accepted)
        folder = path / one.folder
        folder.mkdir(parents=True)
        (folder / "adapter_config.json").write_text("{}")
        (folder / "adapter_model.safetensors").write_bytes(name.encode() * 9)
        (folder / "kept.json").write_text("{}")
        book = book.with_entry(one.model_copy(update={"sha256": adapter_digest(folder)}))
    for topic in ("a", "b"):
        row = Retained(after=topic, stage="final", scores={})
        made = tuple(one for one in book.entries if one.topic == topic)
        record = TopicRecord(id=topic, title=topic)
        Finished(record, (row,), made, "m").write(path / "topics" / topic)
        write_json(path / "topics" / topic / "final.json", {"score": 1})
    (path / "topics" / "c" / "before").mkdir(parents=True)
    (path / "base").mkdir()
    write_json(path / "base" / "a.json", {"score": 0})
    ledgers.write(run, book)
    return run


def bytes_of(path: Path) -> dict[str, bytes]:
    files = (file for file in path.rglob("*") if file.is_file())
    return {file.relative_to(path).as_posix(): file.read_bytes() for file in files}


def spoil(run: RunDir, name: str) -> Path:
    file = run.path / "topics" / name / "adapter_model.safetensors"
    file.write_bytes(b"x" + file.read_bytes()[1:])
    return file


def test_the_accepted_past_is_copied_byte_for_byte(tmp_path: Path) -> None:
    old = make(tmp_path / "old")
    before = bytes_of(old.path)
    past = Past.of(old, ORDER, None).under(resolve().config, ORDER)
    own = inputs(topics=ORDER, forked_from=past.origin)
    said = past.copy(tmp_path / "new", own, comparable=True)
    assert bytes_of(old.path) == before
    copied = bytes_of(tmp_path / "new")
    same = {name: content for name, content in copied.items() if name in before}
    assert same == {name: before[name] for name in same}
    assert set(before) - set(copied) == set() and set(copied) - set(before) == {
        "inputs.json",
        "events.jsonl",
    }
    assert said == (f"forked from {old.path} after `b`",)
    forked = read_inputs(tmp_path / "new").forked_from
    assert forked is not None and forked.topics == ("a", "b") and len(forked.ledger) == 64


def test_until_takes_no_topic_after_it(tmp_path: Path) -> None:
    past = Past.of(make(tmp_path / "old"), ORDER, "a")
    assert past.topics == ("a",)
    past.copy(tmp_path / "new", inputs(), comparable=True)
    assert [one.name for one in ledgers.read(RunDir(tmp_path / "new")).entries] == [
        "a:sft",
        "a:dpo",
    ]
    assert not (tmp_path / "new" / "topics" / "b").exists()


def test_until_an_unfinished_topic_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no finished topic `c`") as caught:
        Past.of(make(tmp_path / "old"), ORDER, "c")
    assert caught.value.hint == "it has finished: a, b"


def test_answers_that_cannot_be_compared_stay_behind(tmp_path: Path) -> None:
    past = Past.of(make(tmp_path / "old"), ORDER, None)
    past.copy(tmp_path / "new", inputs(), comparable=False)
    names = {name.rpartition("/")[2] for name in bytes_of(tmp_path / "new")}
    assert not {"final.json", "kept.json", "a.json"} & names
    then, now = (read_finished(run / "topics" / "b") for run in (past.run.path, tmp_path / "new"))
    assert then.retained and now == replace(then, retained=())


def test_a_damaged_adapter_that_acts_is_named_with_a_way_round(tmp_path: Path) -> None:
    old = make(tmp_path / "old")
    spoil(old, "b/sft")
    with pytest.raises(Damaged, match=r"`adapter_model\.safetensors`") as caught:
        Past.of(old, ORDER, None)
    assert "add `--until a`" in caught.value.hint
    assert str(old.path / "topics/b/sft") in caught.value.where
    assert Past.of(old, ORDER, "a").topics == ("a",)


def test_a_damaged_adapter_that_was_rolled_back_is_said(tmp_path: Path) -> None:
    old = make(tmp_path / "old")
    spoil(old, "a/dpo")
    said = Past.of(old, ORDER, None).copy(tmp_path / "new", inputs(), comparable=True)
    assert "topics/a/dpo is not as it was written; it was rolled back" in said[1]


def test_a_damaged_record_is_named(tmp_path: Path) -> None:
    old = make(tmp_path / "old")
    (old.path / "topics/b/record.json").write_text("{")
    with pytest.raises(Damaged, match=r"record\.json"):
        Past.of(old, ORDER, None)


def test_an_entry_that_a_crash_kept_out_of_the_ledger_is_taken(tmp_path: Path) -> None:
    old = make(tmp_path / "old")
    whole = ledgers.read(old)
    ledgers.write(old, whole.model_copy(update={"entries": whole.entries[:2]}))
    assert Past.of(old, ORDER, None).ledger == whole


def test_a_damaged_ledger_is_named(tmp_path: Path) -> None:
    old = make(tmp_path / "old")
    (old.path / "ledger.json").write_text("{")
    with pytest.raises(Damaged, match=r"ledger\.json") as caught:
        Past.of(old, ORDER, None)
    assert caught.value.hint == f"`mindprint resume {old.path}` makes it again"


def test_a_file_that_changes_on_the_way_leaves_no_folder(tmp_path: Path) -> None:
    past = Past.of(make(tmp_path / "old"), ORDER, None)
    spoil(past.run, "a/sft")
    with pytest.raises(Damaged):
        past.copy(tmp_path / "new", inputs(), comparable=True)
    assert [path.name for path in tmp_path.iterdir()] == ["old"]


@pytest.mark.parametrize("topics", [("b", "a", "c"), ("a", "c"), ("z", "a", "b")])
def test_finished_topics_must_come_first_in_their_order(
    tmp_path: Path, topics: tuple[str, ...]
) -> None:
    past = Past.of(make(tmp_path / "old"), ORDER, None)
    with pytest.raises(ConfigError, match="must come first, in their order: a, b"):
        past.under(resolve().config, topics)


def test_a_run_without_a_finished_topic_gives_nothing(tmp_path: Path) -> None:
    old = RunDir(tmp_path / "old")
    old.path.mkdir()
    past = Past.of(old, ORDER, None).under(resolve().config, ("z",))
    said = past.copy(tmp_path / "new", inputs(), comparable=True)
    assert "no finished topic" in said[0]
    assert set(bytes_of(tmp_path / "new")) == {"inputs.json", "events.jsonl"}


CARRIED: dict[tuple[Handoff, str], str] = {
    ("stack", "auto"): "stack",
    ("merge", "stack"): "stack",
    ("stack", "merge"): "merge",
    ("continue", "continue"): "continue",
    ("continue", "stack"): "",
    ("stack", "continue"): "",
}


@pytest.mark.parametrize(("known", "asked"), CARRIED)
def test_how_the_past_is_carried_on(tmp_path: Path, known: Handoff, asked: str) -> None:
    past = Past.of(make(tmp_path / "old", known), ORDER, None)
    config = resolve(None, [f"handoff={asked}"]).config
    if not CARRIED[known, asked]:
        with pytest.raises(ConfigError, match="cannot become"):
            past.under(config, ORDER)
    else:
        assert past.under(config, ORDER).ledger.handoff == CARRIED[known, asked]


def test_one_adapter_for_all_topics_keeps_its_shape(tmp_path: Path) -> None:
    then, now = resolve().config, resolve(None, ["adapter.rank=4"]).config
    check_adapters(Past.of(make(tmp_path / "stack"), ORDER, None), then, now)
    past = Past.of(make(tmp_path / "continue", "continue"), ORDER, None)
    check_adapters(past, then, then)
    with pytest.raises(ConfigError, match="keeps its shape") as caught:
        check_adapters(past, then, now)
    assert caught.value.where == "adapter.rank"
    # its own file says how it drops out and how its spline bends: other settings would not act
    for setting in ("dropout=0.5", "kind=dora", "knots=7", "identity_penalty=0"):
        now = resolve(None, [f"adapter.{setting}"]).config
        with pytest.raises(ConfigError) as caught:
            check_adapters(past, then, now)
        assert caught.value.where == f"adapter.{setting.partition('=')[0]}"


def test_a_spline_is_stacked_over_a_past_that_was_merged(tmp_path: Path) -> None:
    past = Past.of(make(tmp_path / "old", "merge"), ORDER, None)
    config = resolve(None, ["adapter.kind=lslora"]).config
    assert past.under(config, ORDER).ledger.handoff == "stack"


def test_a_past_with_a_spline_is_not_merged(tmp_path: Path) -> None:
    past = Past.of(make(tmp_path / "old"), ORDER, None)
    bent = [one.model_copy(update={"kind": "lslora"}) for one in past.ledger.entries]
    ledger = past.ledger.model_copy(update={"entries": tuple(bent)})
    with pytest.raises(ConfigError, match="LS-LoRA is in force"):
        replace(past, ledger=ledger).under(resolve(None, ["handoff=merge"]).config, ORDER)


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({}, ""),
        ({"backend": "mlx"}, "backend"),
        ({"dtype": "bfloat16"}, "dtype"),
        ({"hashes": {}}, "curriculum: a/quiz.jsonl"),
        ({"tokenizer": "0"}, "tokenizer"),
        ({"config": {**inputs().config, "eval.max_tokens": 9}}, "eval.max_tokens"),
        ({"config": {**inputs().config, "run.seed": 9}}, "run.seed"),
        ({"config": {**inputs().config, "sft.epochs": 9}}, ""),
    ],
)
def test_what_makes_answers_incomparable(changed: dict[str, Any], why: str) -> None:
    said = incomparable(inputs(), replace(inputs(), **changed))
    assert (why in said[0] and "asked again" in said[0]) if why else said == ()

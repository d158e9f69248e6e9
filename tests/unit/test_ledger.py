"""The ledger: which adapters are in force, and that their bytes are those that were written."""

from __future__ import annotations

from pathlib import Path

import pytest

from mindprint import ledger
from mindprint.disk.sealed import adapter_digest, read_json, write_json
from mindprint.errors import ConfigError, StageError
from mindprint.ledger import Entry, Ledger
from mindprint.report.scores import Score
from mindprint.rundir import RunDir

ZERO = Score(accuracy=0, voice=0, degenerate=0, questions=1)


def entry(name: str, *, replaces: str | None = None, accepted: bool = True) -> Entry:
    topic, stage = name.split(":")
    return Entry(
        name=name,
        topic=topic,
        stage="dpo" if stage.startswith("dpo") else "sft",
        kind="lora",
        rank=2,
        alpha=4.0,
        scaling="standard",
        folder=f"topics/{topic}/{stage}",
        sha256="",
        replaces=replaces,
        backend="torch",
        before=ZERO,
        after=ZERO,
        accepted=accepted,
        verdict="",
    )


def filled(*entries: Entry) -> Ledger:
    book = Ledger(model_id="m", handoff="stack")
    for one in entries:
        book = book.with_entry(one)
    return book


def test_dpo_that_continues_replaces_the_sft_entry() -> None:
    book = filled(entry("a:sft"), entry("a:dpo", replaces="a:sft"), entry("b:sft"))
    assert [one.name for one in book.acting()] == ["a:dpo", "b:sft"]
    assert [one.name for one in book.acting(until="a")] == ["a:dpo"]


def test_a_rolled_back_entry_is_listed_and_does_not_act() -> None:
    book = filled(entry("a:sft"), entry("a:dpo", replaces="a:sft", accepted=False))
    assert [one.name for one in book.acting()] == ["a:sft"]
    assert len(book.entries) == 2


def test_what_a_topic_left_does_not_depend_on_what_came_after() -> None:
    """Under `continue` a later topic replaces it; going on still has to pass through it."""
    book = filled(
        entry("a:sft"), entry("a:dpo", replaces="a:sft"), entry("b:sft", replaces="a:dpo")
    )
    assert [one.name for one in book.left_by("a")] == ["a:dpo"]
    assert [one.name for one in book.acting()] == ["b:sft"]


def test_an_entry_made_again_must_be_equal() -> None:
    """A topic that is gone through again leaves the ledger as it was, or is refused."""
    book = filled(entry("a:sft"), entry("b:sft"))
    elsewhere = entry("a:sft").model_copy(update={"backend": "mlx"})
    assert book.with_entry(entry("a:sft")) == book.with_entry(elsewhere) == book
    with pytest.raises(StageError, match="not what the ledger holds by that name: sha256"):
        book.with_entry(entry("a:sft").model_copy(update={"sha256": "another"}))


def test_a_replaced_stranger_is_refused() -> None:
    with pytest.raises(StageError, match="not in force"):
        filled(entry("a:sft")).with_entry(entry("b:dpo", replaces="b:sft"))


def test_the_ledger_as_a_topic_found_it() -> None:
    book = filled(entry("a:sft"), entry("b:sft"), entry("b:dpo", replaces="b:sft"))
    assert [one.name for one in book.before("b").entries] == ["a:sft"]
    assert book.before("c") == book
    assert [one.name for one in book.of("b")] == ["b:sft", "b:dpo"]


def test_only_what_is_loaded_is_needed() -> None:
    """Under `continue` one adapter is in force; a topic gone through again needs what it began
    with."""
    book = filled(entry("a:sft"), entry("b:sft", replaces="a:sft"))
    assert book.needed("a", replayed=False) == ()
    assert [one.name for one in book.needed("a", replayed=True)] == ["a:sft"]
    assert [one.name for one in book.needed("b", replayed=False)] == ["b:sft"]


def test_what_became_of_each_entry() -> None:
    book = filled(entry("a:sft"), entry("a:dpo", replaces="a:sft"), entry("b:sft", accepted=False))
    assert book.states() == ("replaced", "in force", "rolled back")


def test_one_adapter_carries_all_the_topics_that_it_replaced() -> None:
    """Taking its last topic for all there is in it would drop the others unseen."""
    chain = filled(
        entry("a:sft"),
        entry("a:dpo", replaces="a:sft"),
        entry("b:sft", replaces="a:dpo", accepted=False),
        entry("c:sft", replaces="a:dpo"),
    )
    last = chain.entries[-1]
    assert [one.name for one in chain.lineage(last)] == ["a:sft", "a:dpo", "c:sft"]
    assert chain.carrier("a") == chain.carrier("c") == last
    assert chain.carrier("b") is None and chain.carrier("z") is None


def test_an_adopted_entry_has_no_scores() -> None:
    adopted = {"stage": "adopted", "before": None, "after": None}
    book = filled(entry("a:sft").model_copy(update=adopted))
    assert Ledger.model_validate(book.model_dump(mode="json")) == book


def test_until_an_unknown_topic_names_those_there_are() -> None:
    with pytest.raises(ConfigError) as caught:
        filled(entry("a:sft")).acting(until="z")
    assert caught.value.hint == "it has: a"


def test_a_changed_adapter_file_is_refused(tmp_path: Path) -> None:
    run = RunDir.create(tmp_path / "run")
    folder = run.stage("a", "sft", 0)
    folder.mkdir(parents=True)
    (folder / "adapter_config.json").write_text("{}")
    (folder / "adapter_model.safetensors").write_bytes(b"weights")
    good = entry("a:sft").model_copy(update={"sha256": adapter_digest(folder)})
    assert ledger.verified(run, good) == folder
    (folder / "adapter_model.safetensors").write_bytes(b"weightz")
    with pytest.raises(ConfigError, match="not the one that was written"):
        ledger.verified(run, good)


def test_round_trip_and_another_schema(tmp_path: Path) -> None:
    run = RunDir.create(tmp_path / "run")
    book = filled(entry("a:sft"))
    ledger.write(run, book)
    assert ledger.read(run) == book
    tree = read_json(run.path / "ledger.json")
    write_json(run.path / "ledger.json", {**tree, "schema_version": 99})
    with pytest.raises(ConfigError, match="not a ledger"):
        ledger.read(run)

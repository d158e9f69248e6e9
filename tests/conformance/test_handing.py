"""A run that goes on after a finished topic: what it loads trains if it should, and only then."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Any

import pytest

from backends.contract import Session
from mindprint import pipeline
from mindprint.disk.room import NoRoom
from mindprint.errors import Interrupted, StageError
from mindprint.events import Event
from tests.conformance.conftest import ModelFolder
from tests.runs import make_run, tree_bytes
from tests.tiny import make_tokenizer

KEEP_ALL = ("gate.rollback=false", "dpo.when=always", "eval.retention=off", "sft.epochs=1")


@pytest.fixture(scope="module")
def model(model_of: ModelFolder) -> Path:
    return make_tokenizer(model_of("qwen2", initializer_range=0.02))


def after_the_first_topic(path: Path, model: Path, backend: str, handoff: str) -> None:
    """Leave a run whose first topic is finished and whose second is not begun."""

    def listen(event: Event, session: Session) -> None:
        if event.kind == "topic-started" and event.topic.endswith("topic-1"):
            raise Interrupted("stopped between two topics")

    with pytest.raises(Interrupted):
        make_run(path, model, backend, *KEEP_ALL, f"handoff={handoff}", listen=listen)


@pytest.mark.parametrize(
    ("handoff", "meddled", "said"),
    [
        ("stack", {"frozen": False}, "tensors of the past would be trained"),
        ("continue", {"frozen": True}, "nothing would be trained"),
    ],
)
def test_what_is_loaded_is_audited(
    tmp_path: Path, backend: str, model: Path, handoff: str, meddled: dict[str, bool], said: str
) -> None:
    after_the_first_topic(tmp_path / "run", model, backend, handoff)

    def meddle(session: Session) -> None:
        adapters: Any = session.adapters
        load = adapters.load
        adapters.load = lambda folder, name, **_: load(folder, name, **meddled)

    with pytest.raises(StageError, match=said):
        make_run(tmp_path / "run", model, backend, *KEEP_ALL, f"handoff={handoff}", meddle=meddle)


@pytest.mark.parametrize("handoff", ["merge", "continue"])
def test_a_topic_without_its_record_is_gone_through_again(
    tmp_path: Path, backend: str, model: Path, handoff: str
) -> None:
    """From its stages, over what stood before it, and to the entries that the ledger has."""
    made = make_run(tmp_path / "run", model, backend, *KEEP_ALL, f"handoff={handoff}")
    before = tree_bytes(made.path)
    record = made.path / "topics/unit/chapter/topic-0/record.json"
    was = record.read_bytes()
    record.unlink()
    again = make_run(tmp_path / "run", model, backend, *KEEP_ALL, f"handoff={handoff}")
    assert tree_bytes(made.path) == before and record.read_bytes() == was
    assert not [event for event in again.events if event.kind == "step"]
    assert again.result is not None and made.result is not None
    assert again.result.topics == made.result.topics


def test_a_full_disk_does_not_hide_what_stopped_the_run(
    tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`result.json` cannot be written either; the first error is told, and the rest is whole."""

    def full(event: Event, session: Session) -> None:
        if event.kind == "stage-started":
            monkeypatch.setattr(pipeline, "write_result", _no_room)
            raise NoRoom.of(tmp_path / "run" / "checkpoints", 10)

    with pytest.raises(NoRoom) as caught:
        make_run(tmp_path / "run", model, "torch", *KEEP_ALL, listen=full)
    assert caught.value.where.endswith("checkpoints")
    monkeypatch.undo()
    again = make_run(tmp_path / "run", model, "torch", *KEEP_ALL)
    assert again.result is not None and again.result.status == "finished"


def _no_room(folder: Path, result: object) -> None:
    raise OSError(errno.ENOSPC, "No space left on device", str(folder / "result.json"))

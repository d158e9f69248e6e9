"""The harness itself: a comparison that cannot fail, or a kill that missed, proves nothing."""

from __future__ import annotations

import json
import os
import signal
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mindprint.disk import points
from mindprint.disk.whole import write_folder, write_text
from tests.faults.alike import bytes_that_differ, results_that_differ
from tests.faults.hooks import Watcher
from tests.faults.kills import Kill, tasks
from tests.faults.shots import SIX, Shot
from tests.faults.tables import damage_table, kills_table, paste


class Killed(BaseException):
    """In the place of the death of this very process."""


@pytest.fixture
def signals(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """What this process would have sent to itself."""
    sent: list[int] = []

    def kill(process: int, number: int) -> None:
        assert process == os.getpid()
        sent.append(number)
        raise Killed

    monkeypatch.setattr(os, "kill", kill)
    return sent


def test_forty_kills_are_at_least_five_in_each_moment() -> None:
    made = tasks(["torch", "mlx"], 40)
    for backend in ("torch", "mlx"):
        own = [task for task in made if task.backend == backend]
        counts = Counter(task.moment for task in own)
        assert len(own) == 40 and min(counts[moment] for moment in SIX) >= 5
        for moment in SIX:
            ways = Counter(task.handoff for task in own if task.moment == moment)
            assert ways["stack"] == ways["merge"]


def test_a_kill_at_a_point_leaves_a_note(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, signals: list[int]
) -> None:
    """What is written within a folder belongs to the folder, whatever it is called."""
    note = tmp_path / "note"
    watcher = Watcher(Shot("checkpoint", nth=2, point="synced"), note)
    monkeypatch.setattr(points, "reached", watcher.reached)

    def fill(folder: Path) -> None:
        write_text(folder / "ledger.json", "not the ledger")

    write_folder(tmp_path / "checkpoints" / "step-2", fill)
    write_text(tmp_path / "ledger.json", "the ledger")
    with pytest.raises(Killed):
        write_folder(tmp_path / "checkpoints" / "step-4", fill)
    assert signals == [signal.SIGKILL]
    told = json.loads(note.read_text())
    assert told["moment"] == "checkpoint" and told["died"]["point"] == "synced"
    assert told["died"]["path"].endswith("step-4")
    assert watcher.points["ledger"] == dict.fromkeys(
        ("begun", "written", "synced", "renamed", "done"), 1
    )


def test_a_kill_within_a_moment_waits_for_one_that_is_not_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The wanted occurrence is over too soon: the next that lasts is taken, and only in it."""
    died: list[dict[str, Any]] = []
    watcher = Watcher(Shot("step", nth=2, seconds=0.02), tmp_path / "note")
    monkeypatch.setattr(watcher, "_kill", died.append)
    for lasts in (0.0, 0.0):
        with watcher.within("step"):
            time.sleep(lasts)
    time.sleep(0.05)
    assert died == []
    with watcher.within("step"):
        wait_for(lambda: died)
    assert died[0]["nth"] == 3


def wait_for(happens: Callable[[], object]) -> None:
    """A thread that has nothing else to do is let run at last, however busy the machine."""
    for _ in range(10_000):
        if happens():
            return
        time.sleep(0.001)
    raise AssertionError("it did not happen")


def test_differences_are_seen_and_named(tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    tree: dict[str, Any] = {"topics": [{"scores": {"final": 0.5}, "seconds": 1.0}], "notes": ["a"]}
    for run in (one, other):
        (run / "sft").mkdir(parents=True)
        (run / "sft" / "adapter_model.safetensors").write_bytes(b"same")
        (run / "result.json").write_text(json.dumps(tree))
    assert bytes_that_differ(one, other) == [] == results_that_differ(one, other)
    (other / "sft" / "adapter_model.safetensors").write_bytes(b"sane")
    (other / "ledger.json").write_text("{}")
    tree["topics"][0] |= {"seconds": 2.0, "scores": {"final": 0.25}}
    (other / "result.json").write_text(json.dumps(tree))
    assert bytes_that_differ(one, other) == ["ledger.json", "sft/adapter_model.safetensors"]
    assert results_that_differ(one, other) == ["topics[0].scores.final: 0.5 / 0.25"]


def test_tables_say_what_was_found(tmp_path: Path) -> None:
    def kill(number: int, *differing: str) -> Kill:
        return Kill("mlx", number, "step", "stack", 0, {}, 1, differing, (), ())

    table = kills_table([kill(1), kill(2, "ledger.json")])
    assert "| mlx | a training step | 2 | 1 | 2 |" in table
    rows = [("ledger.json", "removed", "made again"), ("ledger.json", "cut in half", "refused")]
    assert "| `ledger.json` | made again | refused |" in damage_table(rows)
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- kills -->\nold\n<!-- /kills -->\nafter\n")
    paste(page, "kills", table)
    paste(page, "kills", table)  # and again: nothing is added twice
    assert page.read_text() == f"before\n<!-- kills -->\n{table}\n<!-- /kills -->\nafter\n"
    with pytest.raises(LookupError, match="no place marked `damage`"):
        paste(page, "damage", "")

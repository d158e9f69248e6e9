"""kill -9 in the middle of everything: what `resume` ends with is what nobody disturbed ends with.

Six kills in a chain, one in each moment, each resume killed in the next; `scripts/torture.py kills`
makes forty runs of one kill each.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.alike import EXACT, TOLD, bytes_that_differ, results_that_differ
from tests.faults.ground import BACKENDS, Ground, make_ground
from tests.faults.kills import DONE
from tests.faults.nursery import nursery
from tests.faults.processes import Launch, start, surveyed
from tests.faults.shots import SIX, Moment, Shot, Survey

HANDOFF = {"torch": "merge", "mlx": "stack"}

CHAIN: tuple[tuple[Moment, int, str], ...] = (
    ("evaluation", 1, ""),  # the base's, before anything is attached
    ("step", 4, ""),
    ("checkpoint", 1, "written"),  # of step 4: that of step 2 has to serve
    ("reference", 1, ""),
    ("handoff", 1, ""),
    ("ledger", 1, "synced"),  # the topic is over, the ledger does not say so yet
)
"""Moments in the order of a run's first topic; occurrences count in the process that dies. SFT has
twelve steps, three an epoch."""


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Ground:
    return make_ground(tmp_path_factory.mktemp("ground"))


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def launch(backend: str) -> Iterator[Launch]:
    with nursery(backend) as ready:
        yield ready


def test_six_kills_change_nothing(
    tmp_path: Path, backend: str, ground: Ground, launch: Launch
) -> None:
    whole, out, papers = tmp_path / "whole", tmp_path / "run", tmp_path / "papers"
    handoff = f"handoff={HANDOFF[backend]}"
    words = ground.train(whole, backend, handoff)
    undisturbed = start(words, backend, papers / "whole", survey=True, launch=launch)
    assert undisturbed.code in DONE, undisturbed.err
    survey = surveyed(papers / "whole")
    words = ground.train(out, backend, handoff)
    died = []
    for number, shot in enumerate(chain(survey, backend)):
        ended = start(words, backend, papers / f"kill-{number}", shot, launch=launch)
        assert ended.killed, f"{shot}: exit {ended.code}\n{ended.err}"
        died.append(ended.note["moment"])
        words = ["resume", str(out)]
    last = start(words, backend, papers / "last", launch=launch)
    assert last.code in DONE, last.err
    assert sorted(died) == sorted(SIX)
    assert bytes_that_differ(whole, out, EXACT) == []
    assert bytes_that_differ(whole, out, TOLD) == []
    assert results_that_differ(whole, out) == []
    assert not [path.name for path in out.rglob(".*.partial")], "leftovers were not swept"


def chain(survey: Survey, backend: str) -> list[Shot]:
    """Where the six processes die: some share of a moment's usual time after it began."""
    rng = random.Random(backend)
    return [
        Shot(moment, nth, rng.uniform(0.1, 0.7) * min(survey.seconds[moment]), point)
        for moment, nth, point in CHAIN
    ]

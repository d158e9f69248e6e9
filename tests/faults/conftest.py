"""A command line run in this process, over ground that is made once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.conftest import Mindprint, Said, mindprint
from tests.faults.ground import BACKENDS, Ground, make_ground
from tests.faults.kills import DONE

__all__ = ["mindprint"]

Trained = Callable[..., Said]
Undisturbed = Callable[..., Path]


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> Ground:
    """One topic of six rows: a run of a second or two."""
    return make_ground(tmp_path_factory.mktemp("small"), topics=1, rows=6)


@pytest.fixture(scope="session")
def undisturbed(small: Ground, tmp_path_factory: pytest.TempPathFactory) -> Undisturbed:
    """`undisturbed(backend, *settings)`: the folder of a run that nothing happened to."""
    from mindprint.cli.app import run

    made: dict[tuple[str, ...], Path] = {}

    def folder(backend: str, *settings: str) -> Path:
        key = (backend, *settings)
        if key not in made:
            made[key] = tmp_path_factory.mktemp("undisturbed") / backend
            assert run(small.train(made[key], backend, *settings)) in DONE
        return made[key]

    return folder


@pytest.fixture
def train(mindprint: Mindprint, small: Ground) -> Trained:
    """`train(out, backend, *settings)`: a run over `small` in this process."""

    def begin(out: Path, backend: str, *settings: str) -> Said:
        return mindprint(*small.train(out, backend, *settings))

    return begin

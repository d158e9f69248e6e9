"""Every backend, every family, the same questions. A backend that is missing fails, never skips."""

from __future__ import annotations

import gc
import importlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from backends import get
from backends.contract import ModelSpec, Session
from tests.tiny import FAMILIES, make_model

BACKENDS = ("torch", "mlx")

OpenSession = Callable[..., Session]
ModelFolder = Callable[..., Path]


@pytest.fixture(scope="session", autouse=True)
def quick_collections() -> Iterator[None]:
    """A session collects garbage as it closes, which walks every object the frameworks made when
    they were imported, hundreds of times a run: put those out of the collector's sight."""
    for name in BACKENDS:
        if get(name).availability().ok:
            importlib.import_module(f"backends.{name}.session")
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture(scope="session")
def model_of(tmp_path_factory: pytest.TempPathFactory) -> ModelFolder:
    """`model_of(family, **overrides)`: the folder of a tiny model, made once for all tests."""
    made: dict[str, Path] = {}

    def model(family: str, **overrides: Any) -> Path:
        key = f"{family} {sorted(overrides.items())}"
        if key not in made:
            made[key] = make_model(tmp_path_factory.mktemp(family), family, **overrides)
        return made[key]

    return model


@pytest.fixture
def open_session() -> Iterator[OpenSession]:
    """`open_session(backend, folder, **ModelSpec fields)`: float32 on the CPU unless named."""
    opened: list[Session] = []

    def open_one(backend: str, folder: Path, **fields: Any) -> Session:
        found = get(backend).availability()
        if not found.ok:
            pytest.fail(f"backend {backend} does not work here: {found.reason} ({found.hint})")
        spec = ModelSpec(str(folder), **{"dtype": "float32", "device": "cpu", **fields})
        opened.append(get(backend).open(spec))
        return opened[-1]

    yield open_one
    for session in opened:
        session.close()


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=FAMILIES)
def family(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def folder(model_of: ModelFolder, family: str) -> Path:
    """The tiny model of `family`."""
    return model_of(family)


@pytest.fixture
def session(open_session: OpenSession, backend: str, folder: Path) -> Session:
    """A freshly opened model of `family` on `backend`, float32 on the CPU."""
    return open_session(backend, folder)


@pytest.fixture(scope="module")
def kept(model_of: ModelFolder) -> Iterator[Callable[[str, str], Session]]:
    """`kept(backend, family)`: one session for all tests of a file, float32 on the CPU."""
    opened: dict[tuple[str, str], Session] = {}

    def open_once(backend: str, family: str) -> Session:
        if (backend, family) not in opened:
            found = get(backend).availability()
            if not found.ok:
                pytest.fail(f"backend {backend} does not work here: {found.reason}")
            spec = ModelSpec(str(model_of(family)), dtype="float32", device="cpu")
            opened[backend, family] = get(backend).open(spec)
        return opened[backend, family]

    yield open_once
    for session in opened.values():
        session.close()


@pytest.fixture
def shared(kept: Callable[[str, str], Session], backend: str, family: str) -> Iterator[Session]:
    """The file's session of `family`, bare: what a test attaches is taken off after it."""
    session = kept(backend, family)
    yield session
    for name in reversed(session.adapters.active()):
        session.adapters.unload(name)

"""Each tokenizer is made once."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from mindprint.tokens.render import Renderer
from tests.unit.tokens.makers import MAKERS

Get = Callable[[str], Renderer]


@pytest.fixture(scope="session")
def renderer_of(tmp_path_factory: pytest.TempPathFactory) -> Get:
    made: dict[str, Renderer] = {}

    def get(name: str) -> Renderer:
        if name not in made:
            made[name] = MAKERS[name](tmp_path_factory.mktemp(name))
        return made[name]

    return get

"""A model lent to libraries that write on what they are given: afterwards it is as it was."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable, Iterator
from typing import Any

from backends.errors import reason


@contextlib.contextmanager
def unmarked(model: Any) -> Iterator[None]:
    """Inside, a trainer may replace the model's forward, tag it and write its own pad token, cache
    and end tokens into the model's settings; its layers are the business of whoever changes
    them. Afterwards every module is in eval mode and the rest as it was."""
    before = [(held, copy.copy(vars(held))) for held in (model, *_settings(model))]
    try:
        yield
    finally:
        for held, kept in before:
            vars(held).clear()
            vars(held).update(kept)
        model.eval()


@contextlib.contextmanager
def afterwards(undo: Callable[[], None]) -> Iterator[None]:
    """`undo` comes after the block, however that ends. Where both raise, the block's error is the
    one that is raised, and the other a note on it: what failed first is what there is to mend."""
    try:
        yield
    except BaseException as error:
        try:
            undo()
        except Exception as other:
            error.add_note(f"putting things back failed as well: {reason(other)}")
        raise
    undo()


def _settings(model: Any) -> list[Any]:
    found = [getattr(model, name, None) for name in ("config", "generation_config")]
    return [settings for settings in found if settings is not None]

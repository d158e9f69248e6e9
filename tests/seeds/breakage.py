"""Faults put into a session or a backend by hand, past the contract."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from types import ModuleType
from typing import Any

from backends.contract import Session


def module(backend: str, name: str) -> ModuleType:
    return importlib.import_module(f"backends.{backend}.{name}")


def after_add(session: Any, fault: Callable[[Any], None]) -> None:
    """Let `fault` loose on the session each time an adapter has been attached."""
    real = session.adapters.add

    def add(*args: Any, **kwargs: Any) -> None:
        real(*args, **kwargs)
        fault(session)

    session.adapters.add = add


def attach_nothing(session: Any) -> None:
    """The stub of S1: it says that it attached an adapter and attaches none."""
    session.adapters.add = lambda spec, name: None


def freeze_adapter(session: Any) -> None:
    """What a second preparation for training did to an adapter."""
    if _is_torch(session):
        for parameter in session._opened.model.parameters():
            parameter.requires_grad_(False)
    else:
        session._decoder.net.freeze()


def unfreeze_base(session: Any) -> None:
    """What trained 7 B weights instead of an adapter."""
    if _is_torch(session):
        session._opened.model.model.layers[0].mlp.down_proj.base_layer.weight.requires_grad_(True)
    else:
        session._decoder.net.model.layers[0].mlp.down_proj.base.unfreeze()


def _is_torch(session: Session) -> bool:
    return type(session).__module__.startswith("backends.torch")

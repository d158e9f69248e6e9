"""Faults put into a session or a backend by hand, past the contract."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from backends.contract import Session, Spline

Wide = NDArray[np.float64]


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


Fault = Callable[[Wide, Wide, Wide, Spline], Wide]
"""(z, values, scales, spec) -> what is added to a layer's output, in place of s_out phi(s_in z)."""


def bend_otherwise(patch: pytest.MonkeyPatch, backend: str, fault: Fault) -> None:
    """Let `fault`, in NumPy, take the place of a backend's spline wherever that is called."""
    real = module(backend, "spline").bent

    def bent(z: Any, values: Any, scales: Any, spec: Spline) -> Any:
        return _as_given(backend, fault(_wide(z), _wide(values), _wide(scales), spec))

    for name, holder in list(sys.modules.items()):
        if name.startswith(f"backends.{backend}.") and getattr(holder, "bent", None) is real:
            patch.setattr(holder, "bent", bent)


def _wide(given: Any) -> Wide:
    held = given.detach().numpy() if hasattr(given, "detach") else np.array(given)
    return np.asarray(held, np.float64)


def _as_given(backend: str, found: Wide) -> Any:
    narrow = found.astype(np.float32)
    if backend == "torch":
        import torch

        return torch.from_numpy(narrow)
    import mlx.core as mx

    return mx.array(narrow)

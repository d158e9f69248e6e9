"""Float32 arithmetic over lower-precision weights, one module at a time."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn


@contextlib.contextmanager
def float32_arithmetic(model: nn.Module) -> Iterator[None]:
    """Inside, each module computes with a float32 copy of its own weights, made when it runs and
    dropped when it is done. The model's outputs then differ only by what is in its weights, not by
    how its activations round, and never is the whole model held in float32."""
    handles = []
    stored: dict[int, list[tuple[Any, Any]]] = {}

    def widen(module: nn.Module, _inputs: Any) -> None:
        floats = (p for p in module.parameters(recurse=False) if p.is_floating_point())
        pairs = [(p, p.data) for p in floats if p.dtype != torch.float32]
        stored[id(module)] = pairs
        for parameter, data in pairs:
            parameter.data = data.float()

    def narrow(module: nn.Module, _inputs: Any, _output: Any) -> None:
        for parameter, data in stored.pop(id(module), []):
            parameter.data = data

    for module in model.modules():
        if any(True for _ in module.parameters(recurse=False)):
            handles.append(module.register_forward_pre_hook(widen))
            handles.append(module.register_forward_hook(narrow, always_call=True))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
        for pairs in stored.values():
            for parameter, data in pairs:
                parameter.data = data

"""Which precision weights are opened in, asked before a model is opened."""

from __future__ import annotations

import importlib

from backends.contract import Choice, ModelSpec

TABLE = {
    "mlx": "backends.mlx.device:choose_dtype",
    "torch": "backends.torch.choices:dtype",
}


def precision(backend: str, device: str, asked: str) -> Choice:
    """What `asked`, a value of `model.dtype`, comes to on a device of that backend; of `auto`, as
    the hardware that is here can."""
    module, _, name = TABLE[backend].partition(":")
    spec = ModelSpec(path="", dtype=asked)  # type: ignore[arg-type]  # a setting's value
    found: Choice = getattr(importlib.import_module(module), name)(spec, device)
    return found

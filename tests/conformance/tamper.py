"""Faults put into an opened model by hand, past the contract: a check that cannot fail is none."""

from __future__ import annotations

from typing import Any

import numpy as np

from backends.contract import Session


def change_weight(session: Session, backend: str, kind: str) -> None:
    """Flip one bit of a base weight (`bit`), or swap two of its elements (`swap`)."""
    if backend == "torch":
        _torch(session, kind)
    else:
        _mlx(session, kind)


def _changed(values: np.ndarray[Any, np.dtype[np.float32]], kind: str) -> np.ndarray[Any, Any]:
    flat = values.copy().reshape(-1)
    if kind == "bit":
        flat.view(np.uint32)[11] ^= 1
    else:
        flat[[3, 40]] = flat[[40, 3]]
    return flat.reshape(values.shape)


def _torch(session: Any, kind: str) -> None:
    import torch

    weight = session._opened.model.model.layers[1].mlp.down_proj.weight
    with torch.no_grad():
        weight.copy_(torch.from_numpy(_changed(weight.detach().numpy(), kind)))


def _mlx(session: Any, kind: str) -> None:
    import mlx.core as mx

    layer = session._decoder.net.model.layers[1].mlp.down_proj
    layer = getattr(layer, "base", layer)
    layer.weight = mx.array(_changed(np.array(layer.weight), kind))

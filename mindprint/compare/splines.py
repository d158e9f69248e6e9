"""How far the splines of LS-LoRA adapters have moved from the identity."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from backends import spline
from backends.chain import Held, Wide
from backends.lora import name_s, name_v, paths_of


def moved(adapters: Sequence[Held]) -> dict[str, Wide]:
    """By adapter and layer: v - k, then s_in - 1 and s_out - 1, float64 [knots + 2]; {} where no
    LS-LoRA is among them."""
    found: dict[str, Wide] = {}
    for place, (spec, tensors) in enumerate(adapters):
        if spec.spline is None:
            continue
        for path in paths_of(tensors):
            values = tensors[name_v(path)] - spline.knots(spec.spline)
            found[f"{place} {path}"] = np.concatenate([values, tensors[name_s(path)] - 1.0])
    return found

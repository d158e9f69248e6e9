"""How far the splines of LS-LoRA adapters have moved from the identity."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from backends import spline
from backends.chain import Held, Wide
from backends.contract import Spline
from backends.lora import name_s, name_v, paths_of

Place = tuple[int, str, Spline]
"""Which adapter, which layer, and the form of its spline, whatever it was trained with: two are
compared where they are the same function of the same values."""


def moved(adapters: Sequence[Held]) -> dict[Place, Wide]:
    """By adapter, layer and form: v - k, then s_in - 1 and s_out - 1, float64 [knots + 2]; {} where
    no LS-LoRA is among them."""
    found: dict[Place, Wide] = {}
    for place, (spec, tensors) in enumerate(adapters):
        if spec.spline is None:
            continue
        form = replace(spec.spline, penalty=0.0, rate=1.0)
        for path in paths_of(tensors):
            values = tensors[name_v(path)] - spline.knots(spec.spline)
            found[place, path, form] = np.concatenate([values, tensors[name_s(path)] - 1.0])
    return found

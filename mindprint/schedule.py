"""Learning rate over the steps of a stage. Step and total come from the plan, nowhere else."""

from __future__ import annotations

import math
from typing import Literal

Shape = Literal["cosine", "linear", "constant"]


def learning_rate(step: int, total: int, peak: float, shape: Shape, warmup_ratio: float) -> float:
    """Rate of step 0 <= `step` < `total`: linear warm-up that never starts at 0, then `shape`.

    Cosine and linear reach 0 just after the last step, so that every step trains.
    """
    warmup = math.ceil(total * warmup_ratio) if warmup_ratio > 0 else 0
    if step < warmup:
        return peak * (step + 1) / warmup
    if shape == "constant":
        return peak
    share = (step - warmup) / max(1, total - warmup)
    return peak * (1 - share) if shape == "linear" else peak * 0.5 * (1 + math.cos(math.pi * share))

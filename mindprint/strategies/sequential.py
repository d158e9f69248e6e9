"""Each topic trained on its own rows alone."""

from __future__ import annotations

import math
from collections.abc import Sequence

from backends.contract import Batch, Learner, StepStats, Window


class Sequential:
    """Plain accumulation: the gradient of the window's loss, one step."""

    def step(
        self,
        learner: Learner,
        batches: Sequence[Batch],
        window: Window,
        learning_rate: float,
        max_grad_norm: float,
    ) -> tuple[list[StepStats], float]:
        stats = [learner.accumulate(batch, window) for batch in batches]
        if not all(math.isfinite(part.loss) for part in stats):
            learner.discard()
            return stats, math.nan
        return stats, learner.apply(learning_rate, max_grad_norm)

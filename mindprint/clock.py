"""Where the time of a run goes."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from mindprint.report.model import Timings


@dataclass
class Clock:
    """Seconds by kind of work."""

    opening: float = 0.0
    training: float = 0.0
    evaluation: float = 0.0
    started: float = field(default_factory=time.perf_counter)

    def timings(self) -> Timings:
        total = time.perf_counter() - self.started + self.opening
        return Timings(
            opening=round(self.opening, 2),
            training=round(self.training, 2),
            evaluation=round(self.evaluation, 2),
            total=round(total, 2),
        )

"""Where the time of a run goes."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from mindprint.evals.exam import Examiner
from mindprint.report.model import Timings


@dataclass
class Clock:
    """Seconds by kind of work."""

    opening: float = 0.0
    training: float = 0.0
    evaluation: float = 0.0
    started: float = field(default_factory=time.perf_counter)

    @contextmanager
    def timed(self) -> Iterator[None]:
        """What is done inside is evaluation."""
        started = time.perf_counter()
        try:
            yield
        finally:
            self.evaluation += time.perf_counter() - started

    @contextmanager
    def timed_topic(self, examiner: Examiner) -> Iterator[None]:
        """Inside, what the examiner takes is evaluation and the rest training. A topic that is
        stopped on the way has taken its time too."""
        asked, started = examiner.seconds, time.perf_counter()
        try:
            yield
        finally:
            evaluation = examiner.seconds - asked
            self.training += time.perf_counter() - started - evaluation
            self.evaluation += evaluation

    def timings(self) -> Timings:
        total = time.perf_counter() - self.started + self.opening
        return Timings(
            opening=round(self.opening, 2),
            training=round(self.training, 2),
            evaluation=round(self.evaluation, 2),
            total=round(total, 2),
        )

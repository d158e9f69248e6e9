"""One loop for every learner: order, accumulation, schedule, clipping, checkpoints, checks."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from backends.contract import Batch, Learner, Session, StepStats, Window
from backends.errors import OutOfMemory
from mindprint import setbacks
from mindprint.checkpoints import Checkpoints, Progress, not_finite
from mindprint.errors import Interrupted
from mindprint.events import Event, Listener
from mindprint.fitting import DeviceFull, Fit
from mindprint.job import Job, Rules
from mindprint.oversight import Oversight, Step
from mindprint.standing import Standing
from mindprint.strategies import Strategy
from mindprint.tokens.batches import window_of


@dataclass(frozen=True)
class _Taken:
    """One window as it went through the learner."""

    batches: list[Batch]
    window: Window
    stats: list[StepStats]
    norm: float

    @property
    def step(self) -> Step:
        loss = sum(part.loss for part in self.stats)
        margin = None
        if self.window.pairs:
            margin = sum(part.margin for part in self.stats) / self.window.pairs
        penalty = sum(part.penalty for part in self.stats)
        return Step(self.batches, self.window, loss, margin, penalty)


class StageLoop:
    """Trains the attached adapter on one job, from its start or from its latest checkpoint.

    `learn` makes the stage's learner, as at its start; `fit` says what a full device and a wish to
    stop mean between batches.
    """

    def __init__(
        self,
        session: Session,
        learn: Callable[[], Learner],
        job: Job,
        strategy: Strategy,
        rules: Rules,
        fit: Fit,
        checkpoints: Checkpoints,
        listen: Listener,
    ) -> None:
        self._job = job
        self._strategy = strategy
        self._rules = rules
        self._fit = fit
        self._listen = listen
        self._at = Standing(session, learn, checkpoints, job.batches.batch_size, self._notice)
        self._over = Oversight(session, job, fit, self._at, listen)

    def run(self) -> Progress:
        """Raises StageError when a check fails, DeviceFull and NoRoom where there is no room for
        it, Interrupted when asked to stop: what can be saved is saved first."""
        self._over.open()
        self._begin()
        try:
            self._steps()
        except Interrupted:
            self._at.save_stop()
            raise
        except DeviceFull:
            self._at.save_if_room()
            raise
        self._end()
        self._over.close()
        return self._at.progress

    def _begin(self) -> None:
        if self._at.resume():
            self._over.audit()
            self._notice(f"going on from step {self._at.progress.step}")
        else:
            self._over.measure_start()

    def _steps(self) -> None:
        while not self._over.ended and (self._unchecked() or self._left()):
            # A step whose checks were cut short is checked again, not taken again.
            if not self._unchecked():
                self._one_step()
            if self._unchecked() and not self._over.ended:
                self._after_step()

    def _left(self) -> bool:
        return self._at.progress.step < self._job.batches.steps

    def _unchecked(self) -> bool:
        return self._at.progress.checked < self._at.progress.step

    def _one_step(self) -> None:
        progress = self._at.progress
        started = time.perf_counter()
        rate = self._job.rate(progress.step) * progress.rate
        before = self._over.before_step()
        taken = self._window(rate)
        step = taken.step
        if not (math.isfinite(step.loss) and math.isfinite(taken.norm)):
            told = f"loss {step.loss:.4g}, gradient norm {taken.norm:.4g}"
            setbacks.meet(self._at, f"{told} at step {progress.step + 1}", self._notice)
            return
        self._over.stepped(step, before, rate, time.perf_counter() - started)

    def _window(self, rate: float) -> _Taken:
        """One window through the learner; on a full device, in smaller batches if so asked."""
        dpo = self._job.objective.kind == "dpo"
        unit, note = "pairs" if dpo else "rows", ", same effective batch"
        fit = replace(self._fit, unit=unit, note=note)
        taken, self._at.progress.batch_size = fit.whole(
            self._at.progress.batch_size, lambda size: self._through(size, rate)
        )
        return taken

    def _through(self, size: int, rate: float) -> _Taken:
        batches = [self._job.batch_of(rows) for rows in self._rows(size)]
        window = window_of(batches)
        try:
            stats, norm = self._strategy.step(
                self._at.learner, batches, window, rate, self._job.max_grad_norm
            )
        except OutOfMemory as error:
            self._at.learner.discard()
            if not self._at.is_whole():
                raise DeviceFull(
                    f"out of memory in the middle of an optimizer step: {error.what}",
                    where=self._job.where,
                    hint="that step is not counted: `mindprint resume RUN` goes on from the last "
                    "checkpoint",
                ) from error
            raise
        except Exception:
            # A framework says in its own words that a tensor no longer trains: ours come first.
            self._over.audit()
            raise
        return _Taken(batches, window, stats, norm)

    def _rows(self, size: int) -> list[list[int]]:
        return [
            batch[start : start + size]
            for batch in self._job.batches.window(self._at.progress.step)
            for start in range(0, len(batch), size)
        ]

    def _after_step(self) -> None:
        """Checks, then a checkpoint where one is due. What can be cut short comes first: nothing
        of it is noted until all of it is known."""
        seen = self._over.look()
        if spoilt := self._spoilt():
            what = f"{spoilt} after step {self._at.progress.step}"
            setbacks.meet(self._at, what, self._notice, spoilt=True)
            return
        self._over.note(seen)
        if self._at.progress.stopped:
            return
        if self._is_regular():
            self._at.save(regular=True)
        if self._rules.stop():
            raise Interrupted("stopped as asked; the step in hand is finished and saved")

    def _spoilt(self) -> str:
        """What is not finite of the values that would be kept now, or nothing."""
        if not (self._is_regular() or self._over.ends_epoch()):
            return ""
        found = not_finite(self._at.parameters()) or not_finite(self._at.learner.state())
        return f"`{found}`" if found else ""

    def _is_regular(self) -> bool:
        """Whether every run of this stage writes a checkpoint after this step."""
        return self._at.progress.step % self._rules.checkpoint_every == 0

    def _end(self) -> None:
        progress = self._at.progress
        if progress.faults and not progress.curve and not progress.failed:
            why = "no step of the stage could be taken: the loss is not finite"
            setbacks.give_up(self._at, why, self._notice)
        self._over.keep_best()

    def _notice(self, text: str) -> None:
        self._listen(Event("notice", self._job.topic, self._job.stage, {"text": text}))

"""One loop for every learner: order, accumulation, schedule, clipping, checkpoints, checks."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from backends.contract import Batch, Learner, Params, Session, StepStats, Window
from backends.errors import OutOfMemory
from mindprint import guards, setbacks
from mindprint.checkpoints import Checkpoints, Progress, not_finite
from mindprint.errors import Interrupted, StageError
from mindprint.events import Event, Listener
from mindprint.fitting import DeviceFull, Fit
from mindprint.job import Job, Rules
from mindprint.schedule import learning_rate
from mindprint.standing import Standing
from mindprint.strategies import Strategy
from mindprint.tokens.batches import row_logprobs, window_of
from mindprint.tokens.render import Row

LOOKS_PER_STAGE = 8


@dataclass(frozen=True)
class _Taken:
    """One window as it went through the learner."""

    batches: list[Batch]
    window: Window
    stats: list[StepStats]
    norm: float

    @property
    def loss(self) -> float:
        return sum(part.loss for part in self.stats)

    @property
    def margin(self) -> float:
        """Mean over the window's pairs."""
        return sum(part.margin for part in self.stats) / self.window.pairs

    @property
    def tokens(self) -> int:
        return sum(int(batch.lengths.sum()) for batch in self.batches)


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
        self._session = session
        self._job = job
        self._strategy = strategy
        self._rules = rules
        self._fit = fit
        self._listen = listen
        self._at = Standing(session, learn, checkpoints, job.batches.batch_size, self._notice)
        self._moved = False
        self._still = guards.Still()

    def run(self) -> Progress:
        """Raises StageError when a check fails, DeviceFull and NoRoom where there is no room for
        it, Interrupted when asked to stop: what can be saved is saved first."""
        job = self._job
        guards.audit(self._session, job.where)
        fingerprint = self._session.adapters.base_fingerprint()
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
        guards.audit(self._session, job.where)
        guards.check_base(fingerprint, self._session.adapters.base_fingerprint(), job.where)
        return self._at.progress

    def _begin(self) -> None:
        if self._at.resume():
            guards.audit(self._session, self._job.where)
            self._notice(f"going on from step {self._at.progress.step}")
        elif self._job.watch is not None:
            self._at.progress.watched = self._job.watch.measure(self._session, self._fit)

    def _steps(self) -> None:
        while not self._ended() and (self._unchecked() or self._left()):
            # A step whose checks were cut short is checked again, not taken again.
            if not self._unchecked():
                self._one_step()
            if self._unchecked() and not self._ended():
                self._after_step()

    def _ended(self) -> bool:
        return bool(self._at.progress.stopped or self._at.progress.failed)

    def _left(self) -> bool:
        return self._at.progress.step < self._job.batches.steps

    def _unchecked(self) -> bool:
        return self._at.progress.checked < self._at.progress.step

    def _one_step(self) -> None:
        job, progress = self._job, self._at.progress
        started = time.perf_counter()
        planned = learning_rate(
            progress.step, job.batches.steps, job.peak_rate, job.shape, job.warmup_ratio
        )
        rate = planned * progress.rate
        before = None if self._moved else self._at.parameters()
        taken = self._window(rate)
        if not (math.isfinite(taken.loss) and math.isfinite(taken.norm)):
            told = f"loss {taken.loss:.4g}, gradient norm {taken.norm:.4g}"
            setbacks.meet(self._at, f"{told} at step {progress.step + 1}", self._notice)
            return
        if before is not None:
            self._first_step(taken, before)
        self._at.flat.see(taken.loss, job.where)
        self._still.see(taken.loss, self._at.parameters, job.where)
        progress.step += 1
        progress.seconds += time.perf_counter() - started
        progress.tokens += taken.tokens
        progress.curve.append((progress.step, taken.loss))
        margin = None
        if job.objective.kind == "dpo":
            margin = taken.margin
            progress.margins.append((progress.step, margin))
        self._tell_step(taken.loss, margin, rate)

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
            guards.audit(self._session, self._job.where)
            raise
        return _Taken(batches, window, stats, norm)

    def _rows(self, size: int) -> list[list[int]]:
        return [
            batch[start : start + size]
            for batch in self._job.batches.window(self._at.progress.step)
            for start in range(0, len(batch), size)
        ]

    def _first_step(self, taken: _Taken, before: Params) -> None:
        """What must hold of the first step taken: in each process that it moves something, in the
        stage that it began at its reference."""
        job = self._job
        if taken.loss != 0.0:  # a hinge that is met everywhere has nothing to move
            guards.check_moved(before, self._at.parameters(), job.where)
        self._moved = True
        if job.objective.kind != "dpo" or self._at.progress.curve:
            return
        expected = guards.expected_first_loss(job.objective, taken.batches, taken.window)
        exact = self._session.info.dtype == "float32"
        noise = 0.0 if exact else guards.shape_noise(self._session, taken.batches)
        guards.check_start(job.objective, taken.loss, taken.margin, expected, noise, job.where)

    def _after_step(self) -> None:
        """Checks, then a checkpoint where one is due. What can be cut short comes first: nothing
        of it is noted until all of it is known."""
        loss, reason = self._held_out(), self._looked()
        if spoilt := self._spoilt():
            what = f"{spoilt} after step {self._at.progress.step}"
            setbacks.meet(self._at, what, self._notice, spoilt=True)
            return
        if loss is not None:
            self._epoch_end(loss)
        self._note_good(reason)
        self._at.progress.checked = self._at.progress.step
        if self._at.progress.stopped:
            return
        if self._is_regular():
            self._at.save(regular=True)
        if self._rules.stop():
            raise Interrupted("stopped as asked; the step in hand is finished and saved")

    def _held_out(self) -> float | None:
        """The held-out loss, where an epoch ends."""
        if not self._job.held_out or not self._ends_epoch():
            return None
        rows, size = self._job.held_out, self._job.batches.batch_size
        return held_out_loss(self._session, rows, size, self._fit)

    def _looked(self) -> str | None:
        """Why the stage should end now, or nothing; None where no look is due."""
        step, steps, watch = self._at.progress.step, self._job.batches.steps, self._job.watch
        interval = max(1, steps // LOOKS_PER_STAGE)
        if watch is None or not (step % interval == 0 or step == steps):
            return None
        if self._at.progress.watched is None:
            raise StageError("the watch has no figures of the stage's start", where=self._job.where)
        return watch.look(self._session, self._at.progress.watched, self._fit)

    def _spoilt(self) -> str:
        """What is not finite of the values that would be kept now, or nothing."""
        if not (self._is_regular() or self._ends_epoch()):
            return ""
        found = not_finite(self._at.parameters()) or not_finite(self._at.learner.state())
        return f"`{found}`" if found else ""

    def _epoch_end(self, loss: float) -> None:
        """Keep the best epoch by held-out loss."""
        epoch = self._at.progress.step // self._job.batches.steps_per_epoch
        if not math.isfinite(loss):
            self._notice(f"held-out loss of epoch {epoch} is not finite: the epoch is not kept")
            return
        self._at.progress.held_out.append((epoch, loss))
        if loss <= min(value for _, value in self._at.progress.held_out):
            self._at.progress.kept_epoch = epoch
            self._at.held.best = self._at.parameters()

    def _note_good(self, reason: str | None) -> None:
        """A good state to fall back on: after each look without a finding, or each epoch."""
        if reason:
            self._at.progress.stopped = f"{reason} by step {self._at.progress.step}"
            self._at.back_to_good()
            self._notice(f"{self._at.progress.stopped}: stage ended early at its last good state")
        elif reason is not None or (self._job.watch is None and self._ends_epoch()):
            self._at.held.good = self._at.parameters()

    def _ends_epoch(self) -> bool:
        return self._at.progress.step % self._job.batches.steps_per_epoch == 0

    def _is_regular(self) -> bool:
        """Whether every run of this stage writes a checkpoint after this step."""
        return self._at.progress.step % self._rules.checkpoint_every == 0

    def _end(self) -> None:
        progress = self._at.progress
        if progress.faults and not progress.curve and not progress.failed:
            why = "no step of the stage could be taken: the loss is not finite"
            setbacks.give_up(self._at, why, self._notice)
        if self._at.held.best is not None and not (progress.stopped or progress.failed):
            self._at.learner.assign(self._at.held.best)
        if self._kept():
            self._notice(self._kept())

    def _kept(self) -> str:
        progress = self._at.progress
        if progress.kept_epoch is None or progress.stopped or progress.failed:
            return ""
        epoch, epochs = progress.kept_epoch, self._job.batches.epochs
        return "" if epoch == epochs else f"kept epoch {epoch} of {epochs} by held-out loss"

    def _tell_step(self, loss: float, margin: float | None, rate: float) -> None:
        progress = self._at.progress
        data: dict[str, float] = {
            "step": progress.step,
            "steps": self._job.batches.steps,
            "loss": loss,
            "learning_rate": rate,
            "tokens_per_second": progress.tokens / progress.seconds if progress.seconds else 0.0,
        }
        if margin is not None:
            data["margin"] = margin
        self._listen(Event("step", self._job.topic, self._job.stage, data))

    def _notice(self, text: str) -> None:
        self._listen(Event("notice", self._job.topic, self._job.stage, {"text": text}))


def held_out_loss(session: Session, rows: Sequence[Row], batch_size: int, fit: Fit) -> float:
    """Negative log-likelihood per trained token, over rows that are not trained on. Raises what
    `fit` raises."""
    total = sum(row_logprobs(session, rows, batch_size, fit))
    return -total / sum(sum(row.mask) for row in rows)

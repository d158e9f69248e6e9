"""One loop for every learner: order, accumulation, schedule, clipping, checkpoints, checks."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from backends.contract import Batch, Learner, Objective, Params, Session, StepStats, Window
from backends.errors import OutOfMemory
from mindprint import guards
from mindprint.checkpoints import Checkpoints, Held, Progress
from mindprint.errors import Interrupted, StageError
from mindprint.events import Event, Listener
from mindprint.schedule import Shape, learning_rate
from mindprint.strategies import Strategy
from mindprint.tokens.batches import BatchPlan, row_logprobs, window_of
from mindprint.tokens.render import Row
from mindprint.watch import Watch

LOOKS_PER_STAGE = 8


@dataclass(frozen=True)
class Job:
    """What a stage trains. `batch_of` makes a batch from row (or pair) numbers."""

    topic: str
    stage: str
    attempt: int
    objective: Objective
    batches: BatchPlan
    batch_of: Callable[[Sequence[int]], Batch]
    peak_rate: float
    shape: Shape
    warmup_ratio: float
    max_grad_norm: float
    held_out: tuple[Row, ...] = ()
    watch: Watch | None = None

    @property
    def where(self) -> str:
        return f"{self.topic}, {self.stage}"


@dataclass(frozen=True)
class Rules:
    """How the run wants its stages handled."""

    checkpoint_every: int
    on_oom: str
    stop: Callable[[], bool]

    def halt(self) -> None:
        """Raises Interrupted when the run was asked to stop: for work that is begun again whole,
        which has nothing to save."""
        if self.stop():
            raise Interrupted("stopped as asked; what is finished is saved")


class StageLoop:
    """Trains the attached adapter on one job, from its start or from its latest checkpoint."""

    def __init__(
        self,
        session: Session,
        learner: Learner,
        job: Job,
        strategy: Strategy,
        rules: Rules,
        checkpoints: Checkpoints,
        listen: Listener,
    ) -> None:
        self._session = session
        self._learner = learner
        self._job = job
        self._strategy = strategy
        self._rules = rules
        self._checkpoints = checkpoints
        self._listen = listen
        self._flat = guards.FlatLoss()
        self._progress = Progress(batch_size=job.batches.batch_size)
        self._held = Held(good=session.adapters.parameters())

    def run(self) -> Progress:
        """Raises StageError when a check fails, Interrupted when asked to stop."""
        job = self._job
        guards.audit(self._session, job.where)
        fingerprint = self._session.adapters.base_fingerprint()
        self._begin()
        while self._progress.step < job.batches.steps and not self._progress.stopped:
            self._one_step()
            if not self._progress.stopped:
                self._after_step()
        self._end()
        guards.check_base(fingerprint, self._session.adapters.base_fingerprint(), job.where)
        return self._progress

    def _begin(self) -> None:
        if self._job.watch is not None:
            self._job.watch.begin(self._session)
        found = self._checkpoints.latest()
        if found is None:
            return
        self._progress, adapter, optimizer, self._held = found
        self._learner.assign(adapter)
        self._learner.load_state(optimizer)
        self._flat = guards.FlatLoss([loss for _, loss in self._progress.curve])
        self._notice(f"going on from step {self._progress.step}")

    def _one_step(self) -> None:
        job, progress = self._job, self._progress
        started = time.perf_counter()
        rate = learning_rate(
            progress.step, job.batches.steps, job.peak_rate, job.shape, job.warmup_ratio
        )
        before = None if progress.curve else self._learner_parameters()
        batches, window, stats, norm = self._window(rate)
        loss = sum(part.loss for part in stats)
        if not (math.isfinite(loss) and math.isfinite(norm)):
            self._not_finite(loss, norm)
            return
        if before is not None:
            self._first_step(batches, window, stats, loss, before)
        self._flat.see(loss, job.where)
        progress.step += 1
        progress.seconds += time.perf_counter() - started
        progress.tokens += sum(int(batch.lengths.sum()) for batch in batches)
        progress.curve.append((progress.step, loss))
        margin = None
        if job.objective.kind == "dpo":
            margin = sum(part.margin for part in stats) / window.pairs
            progress.margins.append((progress.step, margin))
        self._tell_step(loss, margin, rate)

    def _window(self, rate: float) -> tuple[list[Batch], Window, list[StepStats], float]:
        """One window through the learner; on a full device, in smaller batches if so asked."""
        while True:
            batches = [self._job.batch_of(rows) for rows in self._rows()]
            window = window_of(batches)
            try:
                stats, norm = self._strategy.step(
                    self._learner, batches, window, rate, self._job.max_grad_norm
                )
                return batches, window, stats, norm
            except OutOfMemory as error:
                self._learner.discard()
                self._shrink(error)

    def _rows(self) -> list[list[int]]:
        size = self._progress.batch_size
        return [
            batch[start : start + size]
            for batch in self._job.batches.window(self._progress.step)
            for start in range(0, len(batch), size)
        ]

    def _shrink(self, error: OutOfMemory) -> None:
        size, section = self._progress.batch_size, self._job.objective.kind
        if self._rules.on_oom == "stop" or size == 1:
            raise StageError(
                f"out of memory with {size} rows in a batch: {error.what}",
                where=self._job.where,
                hint=f"lower `sft.max_tokens` first, then `{section}.batch_size` "
                f"with `{section}.accumulate` raised, or set `run.on_oom=shrink`",
            ) from error
        self._progress.batch_size = size // 2
        self._notice(f"out of memory: batches of {size // 2} from here, same effective batch")

    def _not_finite(self, loss: float, norm: float) -> None:
        """Skip the step once; a second time end the stage at its last good state."""
        progress = self._progress
        progress.skipped += 1
        what = f"loss {loss:.4g}, gradient norm {norm:.4g} at step {progress.step + 1}"
        if progress.skipped > 1:
            progress.stopped = f"not finite a second time ({what})"
            self._learner.assign(self._held.good)
            self._notice(f"{progress.stopped}: back to the last good state")
            return
        self._notice(f"not finite, step skipped: {what}")
        progress.step += 1

    def _first_step(
        self,
        batches: Sequence[Batch],
        window: Window,
        stats: Sequence[StepStats],
        loss: float,
        before: Params,
    ) -> None:
        guards.check_moved(before, self._learner_parameters(), self._job.where)
        if self._job.objective.kind != "dpo":
            return
        expected = guards.expected_first_loss(self._job.objective, batches, window)
        exact = self._session.info.dtype == "float32"
        noise = 0.0 if exact else guards.shape_noise(self._session, batches)
        margin = sum(part.margin for part in stats) / window.pairs
        guards.check_start(self._job.objective, loss, margin, expected, noise, self._job.where)

    def _after_step(self) -> None:
        step, batches = self._progress.step, self._job.batches
        if step % batches.steps_per_epoch == 0:
            self._epoch_end(step // batches.steps_per_epoch)
        interval = max(1, batches.steps // LOOKS_PER_STAGE)
        if self._job.watch is not None and (step % interval == 0 or step == batches.steps):
            self._look(self._job.watch)
        if self._progress.stopped:
            return
        if step % self._rules.checkpoint_every == 0:
            self._save()
        if self._rules.stop():
            self._save()
            raise Interrupted("stopped as asked; the step in hand is finished and saved")

    def _epoch_end(self, epoch: int) -> None:
        """Keep the best epoch by held-out loss, and a good state to fall back on."""
        if self._job.watch is None:
            self._held.good = self._learner_parameters()
        if not self._job.held_out:
            return
        loss = held_out_loss(self._session, self._job.held_out, self._job.batches.batch_size)
        if not math.isfinite(loss):
            self._notice(f"held-out loss of epoch {epoch} is not finite: the epoch is not kept")
            return
        self._progress.held_out.append((epoch, loss))
        if loss <= min(value for _, value in self._progress.held_out):
            self._progress.kept_epoch = epoch
            self._held.best = self._learner_parameters()

    def _look(self, watch: Watch) -> None:
        reason = watch.look(self._session)
        if reason:
            self._progress.stopped = f"{reason} by step {self._progress.step}"
            self._learner.assign(self._held.good)
            self._notice(f"{self._progress.stopped}: stage ended early at its last good state")
        else:
            self._held.good = self._learner_parameters()

    def _end(self) -> None:
        if self._held.best is not None and not self._progress.stopped:
            self._learner.assign(self._held.best)
        if self._kept():
            self._notice(self._kept())

    def _kept(self) -> str:
        if self._progress.kept_epoch is None or self._progress.stopped:
            return ""
        epoch, epochs = self._progress.kept_epoch, self._job.batches.epochs
        return "" if epoch == epochs else f"kept epoch {epoch} of {epochs} by held-out loss"

    def _save(self) -> None:
        self._checkpoints.save(
            self._progress, self._learner_parameters(), self._learner.state(), self._held
        )

    def _learner_parameters(self) -> Params:
        return self._session.adapters.parameters()

    def _tell_step(self, loss: float, margin: float | None, rate: float) -> None:
        progress = self._progress
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


def held_out_loss(session: Session, rows: Sequence[Row], batch_size: int) -> float:
    """Negative log-likelihood per trained token, over rows that are not trained on."""
    total = sum(row_logprobs(session, rows, batch_size))
    return -total / sum(sum(row.mask) for row in rows)

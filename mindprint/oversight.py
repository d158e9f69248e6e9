"""What is checked, kept and told of every step of a stage, whoever takes the steps."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from backends.contract import Batch, Params, Session, Window
from mindprint import guards
from mindprint.errors import StageError
from mindprint.events import Event, Listener
from mindprint.fitting import Fit
from mindprint.job import Job
from mindprint.standing import Footing
from mindprint.tokens.batches import row_logprobs
from mindprint.tokens.render import Row

LOOKS_PER_STAGE = 8
PAIRS_PER_LOOK = 16
"""A look weighs 16 answers and 16 ends, which takes about what the training of five pairs does:
three times as many are trained before the next, lest a short stage look as long as it trains."""


@dataclass(frozen=True)
class Step:
    """An optimizer step that was taken: its window, and the window's loss and, for pairs, its mean
    margin. `penalty`: what was minimised beside the loss."""

    batches: Sequence[Batch]
    window: Window
    loss: float
    margin: float | None = None
    penalty: float = 0.0

    @property
    def tokens(self) -> int:
        return sum(int(batch.lengths.sum()) for batch in self.batches)


@dataclass(frozen=True)
class Seen:
    """What was found after a step: the held-out loss, where an epoch ends; why the stage should end
    now, "" for no reason, None where no look was due."""

    held_out: float | None
    reason: str | None


class Oversight:
    """Watches over one stage. `at` is where it stands, which this moves on."""

    def __init__(self, session: Session, job: Job, fit: Fit, at: Footing, listen: Listener) -> None:
        self._session, self._job, self._fit = session, job, fit
        self._at, self._listen = at, listen
        self._moved = False
        self._still = guards.Still()
        self._base: dict[str, int] = {}

    def open(self) -> None:
        """As the stage begins. Raises StageError where other than the adapter would train."""
        self.audit()
        self._base = self._session.adapters.base_fingerprint()

    def close(self) -> None:
        """As it ends. Raises StageError where other than the adapter was trained."""
        self.audit()
        now = self._session.adapters.base_fingerprint()
        guards.check_base(self._base, now, self._job.where)

    def audit(self) -> None:
        guards.audit(self._session, self._job.where)

    def measure_start(self) -> None:
        """What later looks are held against. Raises what `fit` raises."""
        if self._job.watch is not None:
            self._at.progress.watched = self._job.watch.start(self._session, self._fit)

    @property
    def ended(self) -> bool:
        return bool(self._at.progress.stopped or self._at.progress.failed)

    def before_step(self) -> Params | None:
        """The adapter as it stands, where the step to come is to be held against it."""
        return None if self._moved else self._at.parameters()

    def stepped(self, step: Step, before: Params | None, rate: float, seconds: float) -> None:
        """Checks and notes a step that was taken, with finite figures. Raises StageError."""
        job, progress = self._job, self._at.progress
        if before is not None:
            self._first_step(step, before)
        self._at.flat.see(step.loss, job.where)
        self._still.see(step.loss, self._at.parameters, job.where)
        progress.step += 1
        progress.seconds += seconds
        progress.tokens += step.tokens
        progress.curve.append((progress.step, step.loss))
        if step.margin is not None:
            progress.margins.append((progress.step, step.margin))
        if step.penalty:
            progress.penalties.append((progress.step, step.penalty))
        self._tell_step(step, rate)

    def _first_step(self, step: Step, before: Params) -> None:
        """What must hold of the first step taken: in each process that it moves something, in the
        stage that it began at its reference."""
        job = self._job
        if step.loss != 0.0:  # a hinge that is met everywhere has nothing to move
            guards.check_moved(before, self._at.parameters(), job.where)
        self._moved = True
        if step.margin is None or self._at.progress.curve:
            return
        expected = guards.expected_first_loss(job.objective, step.batches, step.window)
        exact = self._session.info.dtype == "float32"
        noise = 0.0 if exact else guards.shape_noise(self._session, step.batches)
        guards.check_start(job.objective, step.loss, step.margin, expected, noise, job.where)

    def look(self) -> Seen:
        """What can be cut short, before any of it is noted. Raises what `fit` raises."""
        return Seen(self._held_out(), self._looked())

    def _held_out(self) -> float | None:
        if not self._job.held_out or not self.ends_epoch():
            return None
        rows, size = self._job.held_out, self._job.batches.batch_size
        return held_out_loss(self._session, rows, size, self._fit)

    def _looked(self) -> str | None:
        step, steps, watch = self._at.progress.step, self._job.batches.steps, self._job.watch
        if watch is None or not (step % self._interval() == 0 or step == steps):
            return None
        if self._at.progress.watched is None:
            raise StageError("the watch has no figures of the stage's start", where=self._job.where)
        return watch.look(self._session, self._at.progress.watched, self._fit)

    def _interval(self) -> int:
        """Steps from one look to the next."""
        batches = self._job.batches
        a_step = batches.batch_size * batches.accumulate
        return max(1, batches.steps // LOOKS_PER_STAGE, math.ceil(PAIRS_PER_LOOK / a_step))

    def note(self, seen: Seen) -> None:
        """Keeps what was seen; the stage stops here, at its last good state, if it should."""
        if seen.held_out is not None:
            self._epoch_end(seen.held_out)
        self._note_good(seen.reason)
        self._at.progress.checked = self._at.progress.step

    def _epoch_end(self, loss: float) -> None:
        """Keep the best epoch by held-out loss."""
        epoch = self._at.progress.step // self._job.batches.steps_per_epoch
        if not math.isfinite(loss):
            self.notice(f"held-out loss of epoch {epoch} is not finite: the epoch is not kept")
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
            self.notice(f"{self._at.progress.stopped}: stage ended early at its last good state")
        elif reason is not None or (self._job.watch is None and self.ends_epoch()):
            self._at.held.good = self._at.parameters()

    def ends_epoch(self) -> bool:
        return self._at.progress.step % self._job.batches.steps_per_epoch == 0

    def keep_best(self) -> None:
        """As the last step is through: the best epoch's values, said aloud."""
        progress = self._at.progress
        if self.ended:
            return
        if self._at.held.best is not None:
            self._at.put(self._at.held.best)
        epoch, epochs = progress.kept_epoch, self._job.batches.epochs
        if epoch is not None and epoch != epochs:
            self.notice(f"kept epoch {epoch} of {epochs} by held-out loss")

    def _tell_step(self, step: Step, rate: float) -> None:
        progress = self._at.progress
        data: dict[str, float] = {
            "step": progress.step,
            "steps": self._job.batches.steps,
            "loss": step.loss,
            "learning_rate": rate,
            "tokens_per_second": progress.tokens / progress.seconds if progress.seconds else 0.0,
        }
        if step.margin is not None:
            data["margin"] = step.margin
        if step.penalty:
            data["penalty"] = step.penalty
        self._listen(Event("step", self._job.topic, self._job.stage, data))

    def notice(self, text: str) -> None:
        self._listen(Event("notice", self._job.topic, self._job.stage, {"text": text}))


def held_out_loss(session: Session, rows: Sequence[Row], batch_size: int, fit: Fit) -> float:
    """Negative log-likelihood per trained token, over rows that are not trained on. Raises what
    `fit` raises."""
    total = sum(row_logprobs(session, rows, batch_size, fit))
    return -total / sum(sum(row.mask) for row in rows)

"""A stage in the hands of an engine, which takes its steps in a loop of its own; what is checked
and told of each of them is the same."""

from __future__ import annotations

import math
from functools import lru_cache

from backends.contract import Batch, OptimizerSpec, Session
from backends.engines import Course, Engine, Taken
from backends.errors import OutOfMemory
from mindprint import setbacks
from mindprint.checkpoints import Progress, not_finite
from mindprint.errors import Interrupted, StageError
from mindprint.events import Listener
from mindprint.fitting import DeviceFull, Fit
from mindprint.job import Job, Rules
from mindprint.oversight import Oversight, Step
from mindprint.standing import Footing
from mindprint.tokens.batches import window_of


class WholeStage:
    """Trains the attached adapter on one job, from its start. Nothing is saved on the way, and no
    step is taken twice: what ends the stage early loses it, and what spoils it ends its topic."""

    def __init__(
        self,
        session: Session,
        engine: Engine,
        optimizer: OptimizerSpec,
        job: Job,
        rules: Rules,
        fit: Fit,
        listen: Listener,
    ) -> None:
        self._session, self._engine, self._optimizer = session, engine, optimizer
        self._job, self._rules, self._fit = job, rules, fit
        self._at = Footing(session, job.batches.batch_size)
        self._over = Oversight(session, job, fit, self._at, listen)
        self._before = self._over.before_step()
        self._lost = ""
        self._batches = lru_cache(maxsize=2)(self._made)

    def run(self) -> Progress:
        """Raises StageError when a check fails, DeviceFull where there is no room for it,
        Interrupted when asked to stop, AdapterError where the engine finds the model otherwise
        than it must be."""
        self._over.open()
        self._over.measure_start()
        if self._job.batches.steps:
            self._train()
        self._check_taken()
        if self._lost:
            setbacks.give_up(self._at, self._lost, self._over.notice)
        self._over.keep_best()
        self._over.close()
        return self._at.progress

    def _train(self) -> None:
        job = self._job
        course = Course(
            epochs=job.batches.epochs,
            steps_per_epoch=job.batches.steps_per_epoch,
            batches_of=self._batches,
            rate_of=job.rate,
            max_grad_norm=job.max_grad_norm,
        )
        try:
            self._engine.train(self._session, job.objective, self._optimizer, course, self._heard)
        except OutOfMemory as error:
            hint = self._fit.advice(job.batches.batch_size)
            raise DeviceFull(f"out of memory: {error.what}", where=job.where, hint=hint) from error
        except Interrupted as error:
            name = self._engine.name
            raise Interrupted(
                f"stopped as asked; what is finished is saved, and the {job.stage} stage in hand "
                f"begins anew: `{name}` takes stages whole",
                where=job.where,
            ) from error

    def _check_taken(self) -> None:
        """Raises StageError where the engine took fewer steps than the plan's, of itself."""
        taken = self._at.progress.step
        if taken != self._job.batches.steps and not (self._lost or self._over.ended):
            raise self._other_steps(taken)

    def _other_steps(self, taken: int) -> StageError:
        planned = self._job.batches.steps
        return StageError(
            f"`{self._engine.name}` took {taken} steps, and the stage has {planned}",
            where=self._job.where,
            hint="nothing of the stage is kept; train with the engine `native`",
        )

    def _made(self, step: int) -> tuple[Batch, ...]:
        return tuple(self._job.batch_of(rows) for rows in self._job.batches.window(step))

    def _heard(self, taken: Taken) -> bool:
        """Whether the stage goes on. Raises StageError and what `fit` raises."""
        number = self._at.progress.step
        if number >= self._job.batches.steps:
            raise self._other_steps(number + 1)
        if not (math.isfinite(taken.loss) and math.isfinite(taken.norm)):
            told = f"loss {taken.loss:.4g}, gradient norm {taken.norm:.4g}"
            return self._end(f"not finite ({told} at step {number + 1})")
        batches = self._batches(number)
        margin = taken.margin if self._job.objective.kind == "dpo" else None
        step = Step(batches, window_of(batches), taken.loss, margin)
        self._over.stepped(step, self._before, self._job.rate(number), taken.seconds)
        if self._before is not None:
            self._over.audit()  # the engine's own wrapping, as it trains
            self._before = None
        return self._go_on()

    def _go_on(self) -> bool:
        seen = self._over.look()
        if self._over.ends_epoch() and (odd := not_finite(self._at.parameters())):
            return self._end(f"not finite (`{odd}` after step {self._at.progress.step})")
        self._over.note(seen)
        if self._at.progress.stopped:
            return False
        if self._rules.stop():
            raise Interrupted("stopped as asked")
        return True

    def _end(self, why: str) -> bool:
        self._at.progress.faults += 1
        self._lost = f"{why}, and `{self._engine.name}` takes no step twice"
        return False

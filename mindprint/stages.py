"""One stage of a topic: attach, train, save, ask. What is on disk already is not done again."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from backends.contract import AdapterSpec, Batch, Learner, Objective, OptimizerSpec, Session
from backends.engines import Engine
from mindprint import guards
from mindprint.adapter import spec_of
from mindprint.checkpoints import Checkpoints, Progress
from mindprint.config import Config
from mindprint.curriculum.records import Curriculum
from mindprint.disk.whole import write_folder, write_text
from mindprint.errors import StageError
from mindprint.evals.exam import Examiner
from mindprint.evals.sheet import Exam
from mindprint.events import Event, Listener
from mindprint.exams import examined
from mindprint.fitting import Fit, training_advice
from mindprint.growth import sample
from mindprint.job import Job, Rules
from mindprint.plan import StageKind, dpo_batches, sft_batches
from mindprint.preferences import gather, reference_logprobs
from mindprint.remembering import Remembering
from mindprint.report.kept import Retained
from mindprint.report.model import MemorySample, StageRecord
from mindprint.retention import Retention
from mindprint.rundir import RunDir
from mindprint.splines import looked_at
from mindprint.stage_folder import STAGE, adapter_hash, read_stage, write_stage
from mindprint.strategies import Strategy
from mindprint.tokens.batches import pad, pad_pairs
from mindprint.tokens.lessons import Lesson, Pair
from mindprint.tokens.render import Renderer
from mindprint.training import StageLoop
from mindprint.watch import Watch
from mindprint.whole_stage import WholeStage


@dataclass(frozen=True)
class Workshop:
    """What every stage of a run works with. `planned`: steps of a first attempt by topic and stage,
    where the plan is sure of them. `engine` takes stages whole, if there is one. `checkpointed`:
    the kinds of stages that train with gradient checkpointing."""

    session: Session
    renderer: Renderer
    curriculum: Curriculum
    config: Config
    run: RunDir
    examiner: Examiner
    strategy: Strategy
    listen: Listener
    rules: Rules
    backend: str
    memory: list[MemorySample]
    retention: Retention
    remembering: Remembering
    planned: Mapping[tuple[str, str], int] = field(default_factory=dict)
    engine: Engine | None = None
    checkpointed: tuple[StageKind, ...] = ()


@dataclass(frozen=True)
class Trained:
    """A finished stage, its verdict still open: `folder` holds adapter, metrics and answers;
    `kept` is what was left of earlier topics then; `sha256` covers the adapter's files as they
    were when they were written."""

    record: StageRecord
    exam: Exam
    kept: Retained | None
    spec: AdapterSpec
    folder: Path
    sha256: str


def adapter_seed(seed: int, topic: str, stage: str, attempt: int) -> int:
    """Every fresh adapter starts from arrays of its own."""
    key = f"{seed}:{topic}:{stage}:{attempt}".encode()
    return int.from_bytes(hashlib.sha256(key).digest()[:6])


class SftStage:
    """Supervised training of a topic's rows on the adapter that is attached."""

    name: StageKind = "sft"

    def __init__(self, shop: Workshop, lesson: Lesson, attempt: int) -> None:
        self._shop, self._lesson, self._attempt = shop, lesson, attempt
        self.rows, self.cut = len(lesson.rows), lesson.cut
        self.note = ""

    def spec(self) -> AdapterSpec:
        config, topic = self._shop.config, self._lesson.topic.id
        seed = adapter_seed(config.run.seed, topic, self.name, self._attempt)
        return spec_of(config, self.name, seed)

    def job(self, save: Callable[[str, bytes], None], fit: Fit) -> Job:
        section, rows = self._shop.config.sft, self._lesson.rows
        batches = sft_batches(self._lesson, section, self._shop.config.run.seed, self._attempt)

        def batch_of(places: Sequence[int]) -> Batch:
            return pad([rows[place] for place in places])

        return Job(
            topic=self._lesson.topic.id,
            stage=self.name,
            attempt=self._attempt,
            objective=Objective("sft"),
            batches=batches,
            batch_of=batch_of,
            peak_rate=section.learning_rate,
            shape=section.schedule,
            warmup_ratio=section.warmup_ratio,
            max_grad_norm=section.max_grad_norm,
            held_out=self._lesson.held_out,
        )


class DpoStage:
    """Preference training; the reference is the policy as the stage begins."""

    name: StageKind = "dpo"

    def __init__(
        self, shop: Workshop, lesson: Lesson, attempt: int, pairs: tuple[Pair, ...], note: str
    ) -> None:
        self._shop, self._lesson, self._attempt, self._pairs = shop, lesson, attempt, pairs
        self.rows = len(pairs)
        self.cut = sum(pair.chosen.cut or pair.rejected.cut for pair in pairs)
        self.note = note

    def spec(self) -> AdapterSpec:
        config, topic = self._shop.config, self._lesson.topic.id
        seed = adapter_seed(config.run.seed, topic, self.name, self._attempt)
        return spec_of(config, self.name, seed)

    def job(self, save: Callable[[str, bytes], None], fit: Fit) -> Job:
        """Raises what `fit` raises."""
        section, pairs = self._shop.config.dpo, self._pairs
        seed = self._shop.config.run.seed
        session = self._shop.remembering
        with session.kept("the reference", self._lesson.topic.id):
            reference = reference_logprobs(session, pairs, section.batch_size, fit)

        def batch_of(places: Sequence[int]) -> Batch:
            chosen = [pairs[place].chosen for place in places]
            rejected = [pairs[place].rejected for place in places]
            both = np.concatenate([reference[places, 0], reference[places, 1]])
            return pad_pairs(chosen, rejected, both)

        save("reference.npy", _npy(reference))
        topic = self._lesson.topic.id
        stop_id = self._shop.renderer.stop_ids[0]
        return Job(
            topic=topic,
            stage=self.name,
            attempt=self._attempt,
            objective=Objective("dpo", section.beta, section.loss, section.sft_weight),
            batches=dpo_batches(pairs, topic, section, seed, self._attempt),
            batch_of=batch_of,
            peak_rate=section.learning_rate,
            shape=section.schedule,
            warmup_ratio=section.warmup_ratio,
            max_grad_norm=section.max_grad_norm,
            watch=Watch(pairs, reference, stop_id, seed, section.batch_size),
        )


def run_stage(
    shop: Workshop, stage: SftStage | DpoStage, lesson: Lesson, attempt: int, name: str
) -> Trained:
    """Train the adapter `name`, which is attached, unless this stage's folder is already there.

    Raises Damaged where the folder's adapter is not as it was written.
    """
    folder = shop.run.stage(lesson.topic.id, stage.name, attempt)
    if (folder / STAGE).is_file():
        record = read_stage(folder)
        Checkpoints(shop.run, lesson.topic.id, stage.name, attempt).clear_own()
        shop.session.adapters.unload(name)
        shop.session.adapters.load(folder, name)
        guards.audit(shop.session, f"{lesson.topic.id}, {stage.name}")
    else:
        record = _train(shop, stage, lesson, attempt, folder)
    exam = examined(shop.examiner, shop.listen, lesson, stage.name, folder)
    on = shop.retention.on
    kept = shop.retention.row(lesson.topic, stage.name, attempt, folder, exam) if on else None
    return Trained(record, exam, kept, stage.spec(), folder, adapter_hash(folder))


def _train(
    shop: Workshop, stage: SftStage | DpoStage, lesson: Lesson, attempt: int, folder: Path
) -> StageRecord:
    files: dict[str, bytes] = {}
    topic = lesson.topic.id
    fit = _fit(shop, topic, stage.name)
    job = stage.job(files.__setitem__, fit)
    guards.check_planned(job.batches.steps, _planned(shop, job), job.where)
    data = {"steps": job.batches.steps, "rows": stage.rows, "note": stage.note}
    shop.listen(Event("stage-started", topic, stage.name, data))

    checkpoints = Checkpoints(shop.run, topic, stage.name, attempt)
    optimizer = OptimizerSpec(seed=stage.spec().seed)
    progress = _steps(shop, job, optimizer, fit, checkpoints)
    if not progress.curve and not progress.failed:
        raise StageError("no step of the stage could be taken: it has no rows", where=job.where)
    record = _record(stage, attempt, job, progress)
    splines = looked_at(shop.session, stage.spec(), job, fit, shop.listen)
    record = record.model_copy(update={"splines": splines})

    def fill(partial: Path) -> None:
        shop.session.adapters.save(partial)
        for name, content in files.items():
            (partial / name).write_bytes(content)
        write_text(partial / "metrics.jsonl", _metrics(progress))
        write_stage(partial, record)

    write_folder(folder, fill, _adapter_bytes(shop.session) + sum(map(len, files.values())))
    checkpoints.clear()
    sample(shop.session, topic, stage.name, shop.memory, shop.listen)
    return record


def _steps(
    shop: Workshop, job: Job, optimizer: OptimizerSpec, fit: Fit, checkpoints: Checkpoints
) -> Progress:
    """The stage's steps, by whoever takes them."""
    if shop.engine is not None:
        whole = WholeStage(shop.session, shop.engine, optimizer, job, shop.rules, fit, shop.listen)
        return whole.run()

    def learn() -> Learner:
        saving = job.stage in shop.checkpointed
        return shop.session.learner(job.objective, optimizer, checkpointing=saving)

    loop = StageLoop(
        shop.session, learn, job, shop.strategy, shop.rules, fit, checkpoints, shop.listen
    )
    return loop.run()


def _fit(shop: Workshop, topic: str, kind: StageKind) -> Fit:
    """How the batches of a stage meet a full device, and a wish to stop."""
    section = shop.config.sft if kind == "sft" else shop.config.dpo

    def tell(text: str) -> None:
        shop.listen(Event("notice", topic, kind, {"text": text}))

    return Fit(
        halt=shop.rules.halt,
        on_full=shop.rules.on_oom,
        tell=tell,
        where=f"{topic}, {kind}",
        advice=training_advice(
            kind, section.batch_size, section.accumulate, shrinks=shop.engine is None
        ),
    )


def _planned(shop: Workshop, job: Job) -> int | None:
    """What the plan says of this stage; further attempts are not in it."""
    return shop.planned.get((job.topic, job.stage)) if job.attempt == 0 else None


def _adapter_bytes(session: Session) -> int:
    """Of the adapter that trains, in float32."""
    return 4 * sum(math.prod(shape) for shape in session.adapters.trainable().values())


def _record(stage: SftStage | DpoStage, attempt: int, job: Job, progress: Progress) -> StageRecord:
    return StageRecord(
        name=stage.name,
        attempt=attempt,
        steps=progress.step,
        epochs=job.batches.epochs,
        rows=stage.rows,
        rows_cut=stage.cut,
        tokens=progress.tokens,
        seconds=round(progress.seconds, 3),
        tokens_per_second=round(progress.tokens / max(progress.seconds, 1e-9), 1),
        loss_first=progress.curve[0][1] if progress.curve else None,
        loss_last=progress.curve[-1][1] if progress.curve else None,
        held_out_loss=tuple(progress.held_out),
        note=stage.note,
        kept_epoch=progress.kept_epoch,
        skipped_steps=progress.skipped,
        stopped=progress.stopped,
        failed=progress.failed,
        curve=tuple(progress.curve),
        margins=tuple(progress.margins),
    )


def _metrics(progress: Progress) -> str:
    margins, penalties = dict(progress.margins), dict(progress.penalties)
    lines = []
    for step, loss in progress.curve:
        row: dict[str, float] = {"step": step, "loss": loss}
        if step in margins:
            row["margin"] = margins[step]
        if step in penalties:
            row["penalty"] = penalties[step]
        lines.append(json.dumps(row) + "\n")
    return "".join(lines)


def _npy(array: np.ndarray[tuple[int, ...], np.dtype[np.float32]]) -> bytes:
    from io import BytesIO

    stream = BytesIO()
    np.save(stream, array)
    return stream.getvalue()


def draw_pairs(shop: Workshop, lesson: Lesson) -> tuple[tuple[Pair, ...], str]:
    """The topic's preference pairs, and where they came from."""
    drawn = gather(lesson, shop.curriculum, shop.config, shop.renderer, shop.examiner)
    return drawn.pairs, drawn.note

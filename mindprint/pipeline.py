"""A run: the base's scores, then topic after topic, then the result. Knows no backend by name."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from backends.contract import AdapterManager, Session
from backends.errors import BackendError, MergeRefused
from mindprint import ledger as ledgers
from mindprint.calibration import Calibration, calibrate
from mindprint.clock import Clock
from mindprint.config import Config, Resolved
from mindprint.curriculum.records import Curriculum
from mindprint.disk.sealed import read_json, write_json
from mindprint.errors import MindprintError, StageError
from mindprint.evals.exam import Examiner
from mindprint.evals.prompts import RETENTION
from mindprint.evals.sheet import Exam
from mindprint.events import Event, Listener
from mindprint.exams import evaluated, read_exam, write_exam
from mindprint.ledger import Entry, Ledger
from mindprint.plan import Plan
from mindprint.report.files import write_result
from mindprint.report.kept import Retained
from mindprint.report.model import Result, Status, TopicRecord
from mindprint.report.voice import VoiceRecord
from mindprint.results import (
    Header,
    add_timings,
    assemble,
    earlier_result,
    write_config,
)
from mindprint.retention import Retention
from mindprint.rundir import RunDir
from mindprint.stages import Workshop
from mindprint.strategies.sequential import Sequential
from mindprint.tokens.lessons import Lesson
from mindprint.tokens.render import Renderer
from mindprint.topics import TopicRun
from mindprint.training import Rules

STRATEGIES = {"sequential": Sequential}


@dataclass(frozen=True)
class Order:
    """What a run is made of: the curriculum, the settings, the plan, and whom to tell.

    `notes` are told and stand in the report; `said` is what was found or mended as the run was
    opened: told, and kept in events.jsonl alone.
    """

    curriculum: Curriculum
    resolved: Resolved
    plan: Plan
    backend: str
    model_path: str
    listen: Listener
    command: str = ""
    stop: Callable[[], bool] = lambda: False
    notes: tuple[str, ...] = ()
    said: tuple[str, ...] = ()


def resolve_handoff(config: Config, session: Session) -> ledgers.Handoff:
    """`auto` merges where the working weights are float32, else stacks."""
    if config.handoff != "auto":
        return config.handoff
    return "merge" if session.info.dtype == "float32" else "stack"


def run_curriculum(
    order: Order, session: Session, renderer: Renderer, run: RunDir, opening: float = 0.0
) -> Result:
    """Train every planned topic, or those that are still missing from `run`.

    `opening`: seconds the model took to open. Raises StageError or Interrupted, the run folder
    resumable either way; the result so far is on disk after every topic.
    """
    return _Run(order, session, renderer, run, opening).go()


class _Run:
    def __init__(
        self, order: Order, session: Session, renderer: Renderer, run: RunDir, opening: float
    ) -> None:
        self._order, self._session, self._run = order, session, run
        self._config = order.resolved.config
        self._clock = Clock(opening=opening)
        self._earlier = earlier_result(run)
        self._records: dict[str, TopicRecord] = {}
        self._retained: list[Retained] = []
        self._memory = list(self._earlier.memory) if self._earlier else []
        self._ledger = self._open_ledger()
        self._notes = [*order.notes, *renderer.notes]
        rules = Rules(self._config.run.checkpoint_every, self._config.run.on_oom, order.stop)
        examiner = Examiner(
            session, renderer, order.curriculum, self._config, halt=rules.halt, tell=self._tell
        )
        self._shop = Workshop(
            session=session,
            renderer=renderer,
            curriculum=order.curriculum,
            config=self._config,
            run=run,
            examiner=examiner,
            strategy=STRATEGIES[self._config.strategy.name](),
            listen=self._hear,
            rules=rules,
            backend=order.backend,
            memory=self._memory,
            retention=Retention(
                examiner,
                order.curriculum,
                [lesson.topic for lesson in order.plan.lessons],
                self._config,
            ),
        )
        self._calibration: Calibration | None = None
        self._standing: Exam | None = None

    def go(self) -> Result:
        self._begin()
        try:
            base = self._base_exams()
            for lesson in self._order.plan.lessons:
                if not self._already(lesson):
                    self._topic(lesson, base[lesson.topic.id])
        except (MindprintError, BackendError, KeyboardInterrupt):
            write_result(self._run.path, self._result("stopped"))
            raise
        result = self._result("finished")
        write_result(self._run.path, result)
        self._hear(Event("run-finished", data={"verdict": result.verdict}))
        return result

    def _open_ledger(self) -> Ledger:
        if (self._run.path / "ledger.json").is_file():
            found = ledgers.read(self._run)
            ledgers.check_model(found, self._session, self._run)
            return found
        handoff = resolve_handoff(self._config, self._session)
        return Ledger(model_id=self._session.model_id, handoff=handoff)

    def _begin(self) -> None:
        if not (self._run.path / "config.yaml").is_file():
            write_config(self._run, self._order.resolved)
            write_json(self._run.path / "plan.json", self._order.plan.as_json())
            ledgers.write(self._run, self._ledger)
            write_result(self._run.path, self._result("running"))
        topics = [
            {"id": lesson.topic.id, "title": lesson.topic.title}
            for lesson in self._order.plan.lessons
        ]
        self._hear(Event("run-started", data={"topics": topics, "handoff": self._ledger.handoff}))
        for note in (*self._order.said, *self._notes):
            self._hear(Event("notice", data={"text": note}))

    def _base_exams(self) -> dict[str, Exam]:
        """Every quiz and the open prompts under the base alone, asked once, before anything is
        attached."""
        folder = self._run.path / "base"
        groups = {lesson.topic.id: lesson.topic.quiz for lesson in self._order.plan.lessons}
        if self._config.eval.retention != "off" and self._order.curriculum.retention:
            groups[RETENTION] = self._order.curriculum.retention
        missing = {
            name: items
            for name, items in groups.items()
            if not (folder / f"{_file(name)}.json").is_file()
        }
        examiner = self._shop.examiner
        with self._timed("evaluation"):
            self._calibration = calibration = calibrate(examiner, folder)
            self._note(calibration.sentence)
            for name, exam in examiner.ask_many(missing).items():
                if name != RETENTION:
                    exam = examiner.read(exam, calibration.base, calibration.reading)
                write_exam(folder / f"{_file(name)}.json", exam)
                self._hear(evaluated(name, "base", exam.score))
        exams = {name: read_exam(folder / f"{_file(name)}.json") for name in groups}
        if self._shop.retention.on:
            self._retained.append(self._shop.retention.base(exams))
        return exams

    def _note(self, text: str) -> None:
        """Said aloud, and kept for the report."""
        self._notes.append(text)
        self._tell(text)

    def _tell(self, text: str) -> None:
        self._hear(Event("notice", data={"text": text}))

    def _already(self, lesson: Lesson) -> bool:
        """A topic that an earlier process finished: its adapters attached, its record read."""
        where = self._run.topic(lesson.topic.id) / "record.json"
        known = any(entry.topic == lesson.topic.id for entry in self._ledger.entries)
        if not where.is_file() or not known:
            return False
        self._attach(self._ledger.left_by(lesson.topic.id))
        tree = read_json(where)
        self._records[lesson.topic.id] = TopicRecord.model_validate(tree["topic"])
        self._retained += [Retained.model_validate(row) for row in tree["retained"]]
        self._standing = read_exam(self._run.topic(lesson.topic.id) / "final.json")
        self._hear(Event("notice", lesson.topic.id, data={"text": "finished earlier"}))
        return True

    def _attach(self, entries: Sequence[Entry]) -> None:
        adapters = self._session.adapters
        for entry in entries:
            folder = ledgers.verified(self._run, entry)
            if self._ledger.handoff == "continue":
                _unload_all(adapters)
                adapters.load(folder, entry.name)
            else:
                adapters.load(folder, entry.name, frozen=True)
        if entries and self._ledger.handoff == "merge":
            self._merge(entries[0].topic)

    def _topic(self, lesson: Lesson, base: Exam) -> None:
        asked = self._shop.examiner.seconds
        started = time.perf_counter()
        taught = TopicRun(self._shop, lesson, self._ledger).run(base, self._standing or base)
        record, entries = taught.record, taught.entries
        self._hand_over(entries)
        spent = time.perf_counter() - started
        evaluation = self._shop.examiner.seconds - asked
        self._clock.training += spent - evaluation
        self._clock.evaluation += evaluation
        self._records[lesson.topic.id] = record
        self._retained += taught.rows
        self._standing = taught.final
        folder = self._run.topic(lesson.topic.id)
        write_exam(folder / "final.json", taught.final)
        write_json(
            folder / "record.json",
            {
                "topic": record.model_dump(mode="json"),
                "retained": [row.model_dump(mode="json") for row in taught.rows],
            },
        )
        for entry in entries:
            self._ledger = self._ledger.with_entry(entry)
        ledgers.write(self._run, self._ledger)
        write_result(self._run.path, self._result("running"))

    def _hand_over(self, entries: Sequence[Entry]) -> None:
        """The topic's adapter becomes the past, in the way the run carries it."""
        if not any(entry.accepted for entry in entries) or self._ledger.handoff == "continue":
            return
        if self._ledger.handoff == "stack":
            self._freeze()
        else:
            self._merge(entries[0].topic)

    def _freeze(self) -> None:
        """The adapter that trains joins the frozen past."""
        adapters = self._session.adapters
        if adapters.trainable():
            adapters.freeze(adapters.active()[-1])

    def _merge(self, topic: str) -> None:
        """Fold what is attached into the weights; under `auto`, a merge that would lose too much
        leaves it stacked, aloud, and the next topic's merge tries both together."""
        try:
            report = self._session.adapters.merge_and_unload()
            text = f"merged into {report.layers} layers, {report.lost:.1e} of the effect lost"
        except MergeRefused as error:
            if self._config.handoff != "auto":
                raise StageError(
                    f"the topic's adapter cannot be merged: {error.what}",
                    where="handoff",
                    hint="start a run with `--set handoff=stack`, which keeps adapters exact",
                ) from error
            self._freeze()
            text = f"stacked instead of merged: {error.what}"
        self._hear(Event("notice", topic, data={"text": text}))

    def _result(self, status: Status) -> Result:
        order = self._order
        header = Header(
            curriculum=order.curriculum,
            resolved=order.resolved,
            model_path=order.model_path,
            choices=(*order.plan.choices, *self._session.choices),
            command=self._earlier.command if self._earlier else order.command,
            notes=tuple(self._notes),
        )
        records = [
            self._records.get(
                lesson.topic.id, TopicRecord(id=lesson.topic.id, title=lesson.topic.title)
            )
            for lesson in order.plan.lessons
        ]
        timings = self._clock.timings()
        result = assemble(
            header,
            self._session,
            status=status,
            topics=tuple(records),
            retained=tuple(self._retained),
            voice=self._voice(),
            memory=tuple(self._memory),
            timings=add_timings(self._earlier.timings, timings) if self._earlier else timings,
            handoff=self._ledger.handoff,
        )
        if self._earlier is not None:  # where a value first came from, not where it was kept
            result = result.model_copy(update={"config": self._earlier.config})
        return result

    def _voice(self) -> VoiceRecord | None:
        if self._calibration is None:
            return None
        last = self._standing
        return self._calibration.record(last.reading if last else None, last.open if last else ())

    def _hear(self, event: Event) -> None:
        if event.kind != "step":
            self._run.record(event)
        self._order.listen(event)

    @contextmanager
    def _timed(self, kind: str) -> Iterator[None]:
        started = time.perf_counter()
        try:
            yield
        finally:
            setattr(self._clock, kind, getattr(self._clock, kind) + time.perf_counter() - started)


def _unload_all(adapters: AdapterManager) -> None:
    for name in reversed(adapters.active()):
        adapters.unload(name)


def _file(name: str) -> str:
    return name.replace("/", "--")

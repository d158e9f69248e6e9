"""A run: the base's scores, then topic after topic, then the result. Knows no backend by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from backends.contract import Session
from backends.engines import Engine
from backends.errors import BackendError
from mindprint import ledger as ledgers
from mindprint.base_exams import base_exams
from mindprint.cache import Cache
from mindprint.calibration import Calibration, calibrate
from mindprint.clock import Clock
from mindprint.config import Config, Resolved
from mindprint.curriculum.records import Curriculum
from mindprint.disk.room import NoRoom, tells_of_no_room
from mindprint.errors import MindprintError, StageError
from mindprint.evals.exam import Examiner
from mindprint.evals.prompts import RETENTION
from mindprint.evals.sheet import Exam
from mindprint.events import Event, Listener
from mindprint.exams import read_exam, write_exam
from mindprint.finished import FINAL, Finished, all_finished, joined
from mindprint.handing import Handing, resolve_handoff
from mindprint.heritage import Kept
from mindprint.job import Rules
from mindprint.ledger import LEDGER, Ledger
from mindprint.plan import Plan
from mindprint.plan_file import keep_plan
from mindprint.remembering import Remembering
from mindprint.report.files import RESULT, write_result
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
from mindprint.topics import Taught, TopicRun

STRATEGIES = {"sequential": Sequential}


@dataclass(frozen=True)
class Order:
    """What a run is made of: the curriculum, the settings, the plan, and whom to tell.

    `engine` takes stages whole, None for the loop of `training`.
    `notes` are told and stand in the report; `said` is what was found or mended as the run was
    opened: told, and kept in events.jsonl alone. `dropped`: topics without which those that the run
    took over were judged. `cache`: what other runs asked the same model, on the same `libraries`.
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
    engine: Engine | None = None
    dropped: tuple[str, ...] = ()
    cache: Cache | None = None
    libraries: Mapping[str, str] = field(default_factory=dict)


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
        self._topics = [lesson.topic.id for lesson in order.plan.lessons]
        self._finished = all_finished(run, self._topics)
        self._past = Kept.of(run)
        self._ledger = self._open_ledger()
        self._notes = [*order.notes, *renderer.notes, *self._past.told()]
        rules = Rules(self._config.run.checkpoint_every, self._config.run.on_oom, order.stop)
        self._remembering = Remembering(
            session, order.cache, order.backend, order.libraries, self._tell
        )
        examiner = Examiner(
            self._remembering,
            renderer,
            order.curriculum,
            self._config,
            halt=rules.halt,
            tell=self._tell,
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
            engine=order.engine,
            memory=self._memory,
            retention=self._retention(examiner),
            planned=_planned(order.plan, self._config),
            remembering=self._remembering,
            checkpointed=order.plan.checkpointed,
        )
        self._handing = Handing(session, self._config, run, self._ledger.handoff, self._hear)
        self._calibration: Calibration | None = None
        self._standing: Exam | None = None

    def go(self) -> Result:
        self._begin()
        try:
            base = self._base_exams()
            self._handing.begin_with(self._past.entries, self._ledger, replayed=self._replayed())
            for lesson in self._order.plan.lessons:
                if lesson.topic.id in self._finished:
                    self._recall(lesson.topic.id)
                else:
                    self._topic(lesson, base[lesson.topic.id])
        except (MindprintError, BackendError, OSError, KeyboardInterrupt):
            self._leave()
            raise
        result = self._result("finished")
        write_result(self._run.path, result)
        self._hear(Event("run-finished", data={"verdict": result.verdict}))
        return result

    def _retention(self, examiner: Examiner) -> Retention:
        order = self._order
        topics = [lesson.topic for lesson in order.plan.lessons]
        return Retention(examiner, order.curriculum, topics, self._config)

    def _leave(self) -> None:
        """Say in `result.json` how far it came; what stopped the run is told even if it cannot."""
        try:
            write_result(self._run.path, self._result("stopped"))
        except (NoRoom, OSError) as error:
            text = f"{RESULT} still says how far the run was before: {error}"
            self._order.listen(Event("notice", data={"text": text}))

    def _open_ledger(self) -> Ledger:
        """As it lies there, with what a topic's record has and the ledger not yet, or no more."""
        found = Ledger(
            model_id=self._past.model_id or self._session.model_id,
            handoff=resolve_handoff(self._config, self._session, self._past.entries),
            entries=self._past.entries,
        )
        if (self._run.path / LEDGER).is_file():
            found = ledgers.read(self._run)
        ledgers.check_model(found, self._session, self._run)
        for topic, finished in self._finished.items():
            if finished.model_id != found.model_id:
                raise StageError(
                    f"`{topic}` was trained on another model than the run",
                    where=str(self._run.topic(topic)),
                    hint="put back the run's own files, or begin anew",
                )
        return joined(found, self._finished, self._topics, self._run)

    def _begin(self) -> None:
        """Whatever of the run's own files is not there yet, or no more."""
        if not (self._run.path / "config.yaml").is_file():
            write_config(self._run, self._order.resolved)
        keep_plan(self._run, self._order.plan)
        self._write_ledger()
        if not (self._run.path / RESULT).is_file():
            write_result(self._run.path, self._result("running"))
        topics = [
            {"id": lesson.topic.id, "title": lesson.topic.title}
            for lesson in self._order.plan.lessons
        ]
        self._hear(Event("run-started", data={"topics": topics, "handoff": self._ledger.handoff}))
        for note in (*self._order.said, *self._notes):
            self._hear(Event("notice", data={"text": note}))

    def _write_ledger(self) -> None:
        """Unless it is there as it should be."""
        there = (self._run.path / LEDGER).is_file()
        if not there or ledgers.read(self._run) != self._ledger:
            ledgers.write(self._run, self._ledger)

    def _base_exams(self) -> dict[str, Exam]:
        """Every quiz and the open prompts under the base alone, asked once, before anything is
        attached."""
        folder = self._run.path / "base"
        groups = {lesson.topic.id: lesson.topic.quiz for lesson in self._order.plan.lessons}
        if self._config.eval.retention != "off" and self._order.curriculum.retention:
            groups[RETENTION] = self._order.curriculum.retention
        asked = {name: [item.question for item in group] for name, group in groups.items()}
        with self._clock.timed(), self._remembering.kept("the base's answers", asked):
            self._calibration = calibrate(self._shop.examiner, folder)
            self._note(self._calibration.sentence)
            exams = base_exams(self._shop.examiner, self._hear, self._calibration, folder, groups)
        if self._shop.retention.on:
            self._retained.append(self._shop.retention.base(exams))
        return exams

    def _note(self, text: str) -> None:
        """Said aloud, and kept for the report."""
        self._notes.append(text)
        self._tell(text)

    def _tell(self, text: str) -> None:
        self._hear(Event("notice", data={"text": text}))

    def _recall(self, topic: str) -> None:
        """A topic that an earlier process finished: its adapters attached, its record read."""
        self._handing.attach(self._ledger.needed(topic, replayed=self._replayed()))
        finished = self._finished[topic]
        self._records[topic] = finished.record
        self._retained += finished.retained
        where = self._run.topic(topic) / FINAL
        # left out by a fork that asks otherwise: the next topic's exam is then whole
        self._standing = read_exam(where) if where.is_file() else None
        self._hear(Event("notice", topic, data={"text": "finished earlier"}))

    def _replayed(self) -> bool:
        """Whether a topic of this run is gone through again that the ledger knows."""
        known = {*self._finished, *self._past.topics}
        return any(entry.topic not in known for entry in self._ledger.entries)

    def _topic(self, lesson: Lesson, base: Exam) -> None:
        topic = lesson.topic.id
        before = self._ledger.before(topic)
        # The base's answers hold for the first topic, unless something acts already.
        first = None if self._past.entries else base
        standing = self._standing if self._records else first
        with self._clock.timed_topic(self._shop.examiner):
            row = self._standing_row(topic, before)
            taught = TopicRun(self._shop, lesson, before).run(base, standing, row)
            self._handing.over(taught.entries)
        self._records[topic] = taught.record
        self._retained += taught.rows
        self._standing = taught.final
        self._close(topic, taught)

    def _standing_row(self, topic: str, before: Ledger) -> Retained | None:
        """What was kept as `topic` begins: the row of the base while nothing acts, else the one
        that the topic before it ended with; None where a fork left that out."""
        if not before.acting():
            return next((row for row in self._retained if row.stage == "base"), None)
        place = self._topics.index(topic)
        ended = {row.after: row for row in self._retained if row.stage == "final"}
        return ended.get(self._topics[place - 1]) if place else None

    def _close(self, topic: str, taught: Taught) -> None:
        """The record before the ledger, which can be made again from it; the result is a view."""
        for entry in taught.entries:
            self._ledger = self._ledger.with_entry(entry)
        entries, folder = self._ledger.of(topic), self._run.topic(topic)
        write_exam(folder / FINAL, taught.final)
        Finished(taught.record, taught.rows, entries, self._ledger.model_id).write(folder)
        self._write_ledger()
        write_result(self._run.path, self._result("running"))

    def _result(self, status: Status) -> Result:
        order = self._order
        header = Header(
            curriculum=order.curriculum,
            resolved=order.resolved,
            model_path=order.model_path,
            choices=(*order.plan.choices, *self._session.choices),
            command=self._earlier.command if self._earlier else order.command,
            notes=tuple(self._notes),
            expected_memory=order.plan.memory,
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
            past=[entry.kind for entry in self._past.entries],
            dropped=order.dropped,
        )
        if self._earlier is None:
            return result
        # Where a value first came from and why it was chosen, not where they were kept.
        then = {(choice.key, choice.name): choice for choice in self._earlier.choices}
        choices = tuple(then.get((one.key, one.name), one) for one in result.choices)
        return result.model_copy(update={"config": self._earlier.config, "choices": choices})

    def _voice(self) -> VoiceRecord | None:
        if self._calibration is None:
            return None
        last = self._standing
        return self._calibration.record(last.reading if last else None, last.open if last else ())

    def _hear(self, event: Event) -> None:
        if event.kind != "step":
            try:
                self._run.record(event)
            except OSError as error:
                if tells_of_no_room(error):
                    raise NoRoom.of(self._run.events) from error
                raise
        self._order.listen(event)


def _planned(plan: Plan, config: Config) -> dict[tuple[str, str], int]:
    """Steps of the first attempts that are sure: not of DPO on pairs that are still to be drawn."""
    return {
        (stage.topic, stage.name): stage.steps
        for stage in plan.stages
        if stage.name == "sft" or config.dpo.pairs == "file"
    }

"""A topic's change taken away: a new run with the others', asked its quizzes again."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from backends.contract import Choice, Session
from mindprint import gate
from mindprint import ledger as ledgers
from mindprint.asked_again import Sitting, rescored, rows_without, with_ending
from mindprint.base_exams import base_exams
from mindprint.calibration import Calibration, calibrate
from mindprint.clock import Clock
from mindprint.curriculum.records import Curriculum, QuizItem
from mindprint.disk.whole import write_new_folder
from mindprint.dropped import judged_without, sentences
from mindprint.evals.exam import Examiner
from mindprint.evals.lengths import longest_row
from mindprint.evals.prompts import RETENTION
from mindprint.evals.sheet import Exam
from mindprint.events import Event
from mindprint.exams import write_exam
from mindprint.export.plain import opened_rows
from mindprint.finished import FINAL, Finished, read_finished
from mindprint.fork import Past, incomparable
from mindprint.inputs import Inputs, Origin, settled, with_values, write_inputs
from mindprint.ledger import Ledger
from mindprint.report.files import write_reports, write_result
from mindprint.report.kept import Retained
from mindprint.report.model import Result, TopicRecord
from mindprint.report.scores import Score
from mindprint.results import Header, assemble, write_config
from mindprint.retention import Retention
from mindprint.rundir import PAST, RunDir
from mindprint.sameness import Differs, Present, differences
from mindprint.target import Target
from mindprint.versions import SHAPING, installed
from mindprint.without import Without

Say = Callable[[str], None]


@dataclass(frozen=True)
class Compared:
    """A quiz under the model before the drop and after it."""

    name: str
    before: Score
    after: Score


@dataclass(frozen=True)
class Dropped:
    """The run that was made. `quizzes`: its topics, the dropped one and the retention set, as far
    as they were asked; `lost`: topics that passed before and do not now."""

    run: Path
    result: Result
    quizzes: tuple[Compared, ...]
    lost: tuple[str, ...]


def check_same(without: Without, target: Target, curriculum: Curriculum) -> None:
    """Raises Differs where the model or the questions are not those of the run; other versions of
    libraries only ask the base again."""
    inputs = without.inputs
    now = Present.of(
        inputs.resolved(),
        curriculum,
        inputs.topics,
        target.folder,
        target.renderer,
        target.libraries(),
        target.backend.name,
    )
    libraries = {*inputs.versions, *SHAPING}
    found = [one for one in differences(inputs, now) if one.what not in libraries]
    if found:
        hint = "put it back as it was: what is left is asked the run's own questions"
        raise Differs(without.run.path, found, hint)


def drop(
    without: Without,
    target: Target,
    curriculum: Curriculum,
    out: Path,
    command: str = "",
    say: Say = lambda text: None,
) -> Dropped:
    """Write the run `out`, whole or not at all; `target` is the run that stays as it is, on the
    backend that asks. Raises what opening and asking raise."""
    work = _Drop(without, target, curriculum, command, say)
    write_new_folder(out, work.fill, work.past.size(comparable=True) + without.size)
    return work.made(out)


class _Drop:
    def __init__(
        self, without: Without, target: Target, curriculum: Curriculum, command: str, say: Say
    ) -> None:
        self._without, self._target = without, target
        self._curriculum, self._command, self._say = curriculum, command, say
        self._config = target.resolved.config
        origin = _of_topics(without.origin, without.topics)
        self.past = Past(without.run, without.ledger, origin, without.began_with)
        self._result: Result | None = None
        self._before, self._after = Sitting({}), Sitting({})

    def made(self, out: Path) -> Dropped:
        if self._result is None:
            raise RuntimeError("the run was not written")
        marks, passed = self._config.gate, []
        for name in self._without.topics:
            was = gate.passes(self._before.score(name), marks)
            if was and not gate.passes(self._after.score(name), marks):
                passed.append(name)
        return Dropped(out, self._result, self._compared(), tuple(passed))

    def fill(self, folder: Path) -> None:
        """The new run, in `folder`."""
        chosen = [self._curriculum.topic(name) for name in self._without.inputs.topics]
        longest = longest_row(self._target.renderer, self._curriculum, chosen, self._config)
        self._say(f"opening {self._target.called} on {self._target.backend.name}")
        with self._target.open(longest) as session:
            inputs = self._inputs(session)
            run = RunDir(folder)
            told = self._lay_out(run, inputs)
            ledger = self._write_ledger(session, run)
            write_inputs(folder, inputs)
            write_config(run, inputs.begun())
            self._ask(session, run, inputs, ledger, told)
        write_reports(folder)

    def _inputs(self, session: Session) -> Inputs:
        """What the new run began with: what the old one did, less the topic."""
        then, info, target = self._without.inputs, session.info, self._target
        handoff = self._without.ledger.handoff
        own = then.begun()
        if handoff == "stack" and own.config.handoff == "continue":
            own = with_values(own, {"handoff": handoff}, {"handoff": "mindprint drop"})
        began = then.began_with
        if began is not None and self._without.dropped in began.topics:
            left = [one for one in began.topics if one != self._without.dropped]
            began = _of_topics(began, left) if left else None
        return replace(
            then,
            backend=target.backend.name,
            device=target.spec.device,
            topics=self._without.topics,
            only=self._without.topics,
            config=settled(own),
            origins=own.origins,
            versions={**installed(SHAPING), **target.libraries()},
            dtype=info.dtype,
            opened_on=info.device,
            threads=info.threads,
            blas=info.blas,
            forked_from=self.past.origin,
            began_with=began,
            dropped=(*then.dropped, self._without.origin),
        )

    def _write_ledger(self, session: Session, run: RunDir) -> Ledger:
        """Where the topic was part of one DoRA, by the weights that the model computes with."""
        base = self._target.folder
        if not self._without.scales:
            return self._without.write_ledger(run, base)
        with opened_rows(session, base, run.path) as rows:
            return self._without.write_ledger(run, base, rows)

    def _lay_out(self, run: RunDir, inputs: Inputs) -> tuple[str, ...]:
        """Copy what stays. Returns what is to be said."""
        then = self._without.inputs
        left_out = incomparable(then, replace(inputs, topics=then.topics))
        told = self.past.lay_out(run.path, not left_out)
        self._without.lay_bare(run)
        self._forget_past(run)
        return (*told, *left_out)

    def _forget_past(self, run: RunDir) -> None:
        """An adapter that the run began with may be the one that goes."""
        kept, place = self._without.began_with, run.path / PAST
        if not place.is_dir():
            return
        stays = {run.path / entry.folder for entry in kept.entries}
        for path in [path for path in place.iterdir() if path.is_dir() and path not in stays]:
            shutil.rmtree(path)
        kept.write(place)

    def _ask(
        self,
        session: Session,
        run: RunDir,
        inputs: Inputs,
        ledger: Ledger,
        told: Sequence[str],
    ) -> None:
        """The old model, then the new one, the same questions; the records and the result."""
        clock = Clock()

        def listen(event: Event) -> None:
            run.record(event)
            if event.kind == "notice":
                self._say(str(event.data["text"]))

        def tell(text: str) -> None:
            listen(Event("notice", data={"text": text}))

        for text in (*sentences((self._without.origin,)), *told):
            tell(text)
        examiner = Examiner(
            session, self._target.renderer, self._curriculum, self._config, tell=tell
        )
        groups = self._groups()
        with session.adapters.using(()):
            calibration = calibrate(examiner, run.path / "base")
            base = base_exams(examiner, listen, calibration, run.path / "base", groups)
        self._say("asking the model as it was")
        self._before = Sitting.of(examiner, groups, calibration)
        for name in reversed(session.adapters.active()):
            session.adapters.unload(name)
        ledgers.attach(session, run)
        self._say("asking the model without the topic")
        self._after = Sitting.of(examiner, groups, calibration)
        records, rows = self._records(run, ledger, base, examiner)
        clock.evaluation += examiner.seconds
        for text in self._beside():
            run.record(Event("notice", data={"text": text}))
        self._result = self._assembled(session, inputs, ledger, records, rows, calibration, clock)
        write_result(run.path, self._result)

    def _groups(self) -> dict[str, Sequence[QuizItem]]:
        """The quizzes in the run's order, the dropped topic's too, and the retention set."""
        groups: dict[str, Sequence[QuizItem]] = {
            name: self._curriculum.topic(name).quiz for name in self._without.inputs.topics
        }
        if self._config.eval.retention != "off" and self._curriculum.retention:
            groups[RETENTION] = self._curriculum.retention
        return groups

    def _records(
        self, run: RunDir, ledger: Ledger, base: Mapping[str, Exam], examiner: Examiner
    ) -> tuple[list[TopicRecord], list[Retained]]:
        """The remaining topics' records, written, and the rows of the forgetting matrices."""
        topics = [self._curriculum.topic(name) for name in self._without.topics]
        retention = Retention(examiner, self._curriculum, topics, self._config)
        records, rows = [], [retention.base(base)] if retention.on else []
        for name in self._without.topics:
            folder, final = run.topic(name), self._after.exams[name]
            then = read_finished(folder)
            why = f"`{self._without.dropped}` was dropped: {told(*self._compared_one(name))}"
            record = rescored(then.record, base[name], final, examiner, self._config, why)
            own = rows_without(then.retained, self._without.dropped)
            if name == self._without.topics[-1] and retention.on:
                own = with_ending(own, retention.base(self._after.exams))
            write_exam(folder / FINAL, final)
            Finished(record, own, ledger.of(name), ledger.model_id).write(folder)
            records.append(record)
            rows += own
        return records, rows

    def _assembled(
        self,
        session: Session,
        inputs: Inputs,
        ledger: Ledger,
        records: Sequence[TopicRecord],
        rows: Sequence[Retained],
        calibration: Calibration,
        clock: Clock,
    ) -> Result:
        """The new run's result; what was chosen for the old one still stands."""
        then, last = self._without.result, self._after.open
        choices = [Choice(one.name, one.because, one.key) for one in then.choices]
        header = Header(
            curriculum=self._curriculum,
            resolved=inputs.begun(),
            model_path=inputs.called,
            choices=tuple(one for one in choices if one.key != "handoff"),
            command=self._command,
            notes=(*then.notes, *sentences((self._without.origin,)), *self._beside()),
        )
        return assemble(
            header,
            session,
            status="finished",
            topics=records,
            retained=tuple(rows),
            voice=calibration.record(last.reading if last else None, last.open if last else ()),
            memory=(),
            timings=clock.timings(),
            handoff=ledger.handoff,
            dropped=judged_without(inputs),
        )

    def _beside(self) -> list[str]:
        """What the new run's topics do not show: the dropped one and the retention set."""
        names = [name for name in self._after.exams if name not in self._without.topics]
        return [f"Without it, {name}: {told(*self._compared_one(name))}." for name in names]

    def _compared_one(self, name: str) -> tuple[Score, Score]:
        return self._before.score(name), self._after.score(name)

    def _compared(self) -> tuple[Compared, ...]:
        return tuple(Compared(name, *self._compared_one(name)) for name in self._after.exams)


def told(before: Score, after: Score) -> str:
    """Accuracy and voice, before and after."""
    accuracy = f"accuracy {before.accuracy:.2f} -> {after.accuracy:.2f}"
    return f"{accuracy}, voice {before.voice:.2f} -> {after.voice:.2f}"


def _of_topics(origin: Origin, topics: Sequence[str]) -> Origin:
    return origin.model_copy(update={"topics": tuple(topics)})

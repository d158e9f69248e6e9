"""One topic: attempts of SFT and DPO, each judged, harm undone, the best attempt kept."""

from __future__ import annotations

from dataclasses import dataclass, replace

from backends.contract import AdapterState
from mindprint import gate
from mindprint.curriculum.data import data_record
from mindprint.errors import StageError
from mindprint.evals.changes import changes
from mindprint.evals.sheet import Exam
from mindprint.events import Event
from mindprint.exams import examined
from mindprint.gate import Verdict
from mindprint.ledger import Entry, Ledger
from mindprint.plan import StageKind
from mindprint.report.kept import Retained
from mindprint.report.model import StageRecord, TopicRecord
from mindprint.report.scores import Question, Score, StageName
from mindprint.report.voice import Reading
from mindprint.stages import DpoStage, SftStage, Trained, Workshop, draw_pairs, run_stage
from mindprint.tokens.lessons import Lesson


@dataclass(frozen=True)
class Judged:
    """A trained stage with its verdict, and the ledger entry it would make."""

    trained: Trained
    verdict: Verdict
    before: Exam
    name: str
    replaces: str | None


@dataclass(frozen=True)
class Attempt:
    """One attempt at a topic: its stages, the exam at its end, and the adapters as they stood."""

    number: int
    stages: tuple[Judged, ...]
    final: Exam
    state: AdapterState
    notes: tuple[str, ...]

    @property
    def failed(self) -> str:
        """Why a stage gave the whole topic up, or nothing."""
        return self.stages[-1].trained.record.failed


@dataclass(frozen=True)
class Taught:
    """A topic as it was left: its record, its ledger entries, accepted or rolled back, in the
    order made, its rows of the forgetting matrices, and the exam that stands at its end."""

    record: TopicRecord
    entries: tuple[Entry, ...]
    rows: tuple[Retained, ...]
    final: Exam


class TopicRun:
    """Takes one topic from `before` to its verdict. The past is attached when it begins."""

    def __init__(self, shop: Workshop, lesson: Lesson, ledger: Ledger) -> None:
        self._shop = shop
        self._lesson = lesson
        self._ledger = ledger
        self._adapters = shop.session.adapters
        self._id = lesson.topic.id

    def run(self, base: Exam, standing: Exam | None, row: Retained | None = None) -> Taught:
        """`standing`: an exam of the model as the topic finds it, of whichever topic; None where
        there is none, and the topic's own is then whole. `row`: what was kept as the topic finds
        it, where that is known."""
        title = self._lesson.topic.title
        self._shop.listen(Event("topic-started", self._id, "", {"title": title}))
        folder = self._shop.run.topic(self._id) / "before"
        examiner, listen = self._shop.examiner, self._shop.listen
        # The base's own exam, while nothing acts on it yet: the same model, not asked again.
        known = None if self._ledger.acting() else base
        before = examined(examiner, listen, self._lesson, "before", folder, standing, known)
        start = self._adapters.snapshot()
        attempts: list[Attempt] = []
        for number in range(self._shop.config.gate.retries + 1):
            if number:
                self._adapters.restore(start)
            attempts.append(self._attempt(number, before, start))
            if attempts[-1].failed or gate.passes(attempts[-1].final.score, self._shop.config.gate):
                break
        best, verdict = self._best(attempts, before)
        kept = verdict.keep and any(stage.verdict.keep for stage in best.stages)
        if best is not attempts[-1] or not kept:
            self._adapters.restore(best.state if kept else start)
        final = best.final if kept else before
        entries = self._entries(attempts, best if kept else None)
        record = self._record(attempts, best, kept, verdict, base, before, final)
        rows = self._rows(attempts, best if kept else None, before, row)
        self._finished(record)
        return Taught(record, entries, rows, final)

    def _best(self, attempts: list[Attempt], before: Exam) -> tuple[Attempt, Verdict]:
        """The attempt that the topic is judged by, and whether it stays. The last one, if it gave
        the topic up."""
        marks, last = self._shop.config.gate, attempts[-1]
        if last.failed:
            return last, gate.judge_failed_topic(last.failed)
        best = max(attempts, key=lambda a: gate.rank(before.score, a.final.score, marks))
        return best, gate.judge_topic(before.score, best.final.score, marks)

    def _rows(
        self,
        attempts: list[Attempt],
        chosen: Attempt | None,
        before: Exam,
        standing: Retained | None,
    ) -> tuple[Retained, ...]:
        """What was kept as the topic began, after each stage, and as it was left."""
        retention, topic = self._shop.retention, self._lesson.topic
        if not retention.on:
            return ()
        rows = [retention.before(topic, before)]
        last: Retained | None = None
        for attempt in attempts:
            for judged in attempt.stages:
                kept = attempt is chosen and judged.verdict.keep
                if judged.trained.kept is not None:
                    row = judged.trained.kept.model_copy(update={"kept": kept})
                    rows.append(row)
                    last = row if kept else last
        if last is None:  # all was rolled back: the model stands as the topic found it
            folder = self._shop.run.topic(self._id)
            last = retention.row(topic, "final", 0, folder, before, standing)
        return (*rows, last.model_copy(update={"stage": "final", "kept": True}))

    def _attempt(self, number: int, before: Exam, start: AdapterState) -> Attempt:
        stages: list[Judged] = []
        notes: list[str] = []
        sft = self._sft(number, before)
        stages.append(sft)
        if not sft.verdict.keep:
            self._adapters.restore(start)
            return Attempt(number, tuple(stages), before, start, ("SFT rolled back",))
        final = sft.trained.exam
        wanted, why = gate.wants_dpo(final.score, self._shop.config.gate, self._shop.config.dpo)
        if not wanted:
            notes.append(f"no DPO: {why}")
        else:
            dpo = self._dpo(number, sft)
            if isinstance(dpo, str):
                notes.append(f"no DPO: {dpo}")
            else:
                stages.append(dpo)
                final = dpo.trained.exam if dpo.verdict.keep else final
        return Attempt(number, tuple(stages), final, self._adapters.snapshot(), tuple(notes))

    def _sft(self, number: int, before: Exam) -> Judged:
        stage = SftStage(self._shop, self._lesson, number)
        goes_on = self._goes_on()
        name = goes_on or self._name("sft", number)
        if goes_on is None:
            self._adapters.add(stage.spec(), name)
        trained = run_stage(self._shop, stage, self._lesson, number, name)
        change = self._shop.examiner.change(before, trained.exam)
        raw = gate.judge_sft(before, trained.exam, change, **self._measure())
        verdict = self._judged(raw, trained)
        replaces = self._last_accepted() if goes_on is not None else None
        return Judged(trained, verdict, before, self._name("sft", number), replaces)

    def _dpo(self, number: int, sft: Judged) -> Judged | str:
        """The stage, or why there is no pair to train it on."""
        pairs, note = draw_pairs(self._shop, self._lesson)
        if not pairs:
            return note
        stage = DpoStage(self._shop, self._lesson, number, pairs, note)
        before_dpo = self._adapters.snapshot()
        training = self._training()
        own = self._shop.config.dpo.adapter == "new"
        name = self._name("dpo", number) if own else training
        if own:
            self._adapters.freeze(training)
            self._adapters.add(stage.spec(), name)
        trained = run_stage(self._shop, stage, self._lesson, number, name)
        if not own:
            trained = replace(trained, spec=sft.trained.spec)
        began = sft.trained.exam
        change = self._shop.examiner.change(began, trained.exam)
        raw = gate.judge_dpo(began, trained.exam, trained.record, change, **self._measure())
        verdict = self._judged(raw, trained)
        if not verdict.keep:
            self._adapters.restore(before_dpo)
        replaces = None if own else sft.name
        return Judged(trained, verdict, sft.trained.exam, self._name("dpo", number), replaces)

    def _judged(self, verdict: Verdict, trained: Trained) -> Verdict:
        """The verdict as it takes effect, told."""
        if trained.record.failed:
            verdict = gate.judge_failed(trained.record)
        elif not verdict.keep and not self._shop.config.gate.rollback:
            sentence = f"{verdict.sentence} (`gate.rollback` is off: kept)"
            verdict = Verdict(True, sentence)
        data = {"verdict": verdict.sentence, "accepted": verdict.keep}
        data["seconds"] = trained.record.seconds
        self._shop.listen(Event("stage-finished", self._id, trained.record.name, data))
        return verdict

    def _measure(self) -> dict[str, int]:
        """What the intervals of a verdict are drawn with."""
        config = self._shop.config
        return {"seed": config.run.seed, "resamples": config.eval.resamples}

    def _goes_on(self) -> str | None:
        """The adapter that trains on under the handoff `continue`, if there is one yet."""
        if self._ledger.handoff != "continue" or not self._ledger.acting():
            return None
        return self._training()

    def _training(self) -> str:
        if not self._adapters.trainable():
            raise StageError("no adapter is training", where=self._id)
        return self._adapters.active()[-1]

    def _last_accepted(self) -> str | None:
        acting = self._ledger.acting()
        return acting[-1].name if acting else None

    def _name(self, stage: StageKind, number: int) -> str:
        return f"{self._id}:{stage}" + (f"#{number + 1}" if number else "")

    def _entries(self, attempts: list[Attempt], chosen: Attempt | None) -> tuple[Entry, ...]:
        made: list[Entry] = []
        for attempt in attempts:
            for judged in attempt.stages:
                accepted = attempt is chosen and judged.verdict.keep
                made.append(self._entry(judged, accepted, _sentence(judged, attempt, chosen)))
        return tuple(made)

    def _entry(self, judged: Judged, accepted: bool, verdict: str) -> Entry:
        trained, spec = judged.trained, judged.trained.spec
        return Entry(
            name=judged.name,
            topic=self._id,
            stage=trained.record.name,
            kind=spec.kind,
            rank=spec.rank,
            alpha=spec.alpha,
            scaling=spec.scaling,
            folder=trained.folder.relative_to(self._shop.run.path).as_posix(),
            sha256=trained.sha256,
            replaces=judged.replaces,
            backend=self._shop.backend,
            before=judged.before.score,
            after=trained.exam.score,
            accepted=accepted,
            verdict=verdict,
        )

    def _record(
        self,
        attempts: list[Attempt],
        best: Attempt,
        kept: bool,
        verdict: Verdict,
        base: Exam,
        before: Exam,
        final: Exam,
    ) -> TopicRecord:
        exams: dict[StageName, Exam] = {"base": base, "before": before}
        for judged in best.stages:
            exams[judged.trained.record.name] = judged.trained.exam
        exams["final"] = final
        passed = not best.failed and gate.passes(final.score, self._shop.config.gate)
        scores: dict[StageName, Score] = {state: exam.score for state, exam in exams.items()}
        readings: dict[StageName, Reading] = {
            state: exam.reading for state, exam in exams.items() if exam.reading is not None
        }
        voice = self._shop.examiner.change(base, final)
        return TopicRecord(
            id=self._id,
            title=self._lesson.topic.title,
            note=self._lesson.topic.note,
            status="passed" if passed else "failed",
            verdict=". ".join((verdict.sentence, *best.notes)),
            attempts=len(attempts),
            data=data_record(self._lesson),
            scores=scores,
            readings=readings,
            changes=changes(base, final, voice, **self._measure()),
            stages=tuple(
                _closed(judged, attempt, best if kept else None)
                for attempt in attempts
                for judged in attempt.stages
            ),
            questions=tuple(
                Question(
                    question=item.question,
                    reference=item.reference,
                    cluster=item.cluster,
                    answers={state: exam.answers[place] for state, exam in exams.items()},
                )
                for place, item in enumerate(self._lesson.topic.quiz)
            ),
        )

    def _finished(self, record: TopicRecord) -> None:
        final = record.scores["final"]
        data = {"status": record.status, "verdict": record.verdict}
        figures = {"accuracy": final.accuracy, "voice": final.voice}
        self._shop.listen(Event("topic-finished", self._id, "", {**data, **figures}))


def _sentence(judged: Judged, attempt: Attempt, chosen: Attempt | None) -> str:
    """The stage's verdict, and why its adapter is gone where the topic decided that."""
    said = judged.verdict.sentence
    if not judged.verdict.keep or attempt is chosen:
        return said
    if chosen is None:
        return f"{said}; not kept: the topic was rolled back"
    return f"{said}; not kept: attempt {chosen.number + 1} was better"


def _closed(judged: Judged, attempt: Attempt, chosen: Attempt | None) -> StageRecord:
    """The stage's record with the verdict as it took effect."""
    accepted = attempt is chosen and judged.verdict.keep
    sentence = _sentence(judged, attempt, chosen)
    return judged.trained.record.model_copy(update={"accepted": accepted, "verdict": sentence})

"""A model asked again after its run: every quiz, the retention set and the open prompts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mindprint import gate
from mindprint.calibration import Calibration
from mindprint.config import Config
from mindprint.curriculum.records import QuizItem
from mindprint.evals.changes import changes
from mindprint.evals.exam import Examiner
from mindprint.evals.prompts import RETENTION
from mindprint.evals.sheet import Exam
from mindprint.report.kept import Retained
from mindprint.report.model import TopicRecord
from mindprint.report.scores import Score


@dataclass(frozen=True)
class Sitting:
    """The exams of one state of the model, by topic and `retention`."""

    exams: Mapping[str, Exam]

    @classmethod
    def of(
        cls,
        examiner: Examiner,
        groups: Mapping[str, Sequence[QuizItem]],
        calibration: Calibration,
    ) -> Sitting:
        """Of the model as it stands; the voice is read where it can be measured."""
        exams = examiner.ask_many(groups)
        if calibration.instrument.measurable:
            said = examiner.ask_open()
            reading = calibration.instrument.read(said)
            taught = [name for name in exams if name != RETENTION]
            exams |= {name: examiner.read(exams[name], said, reading) for name in taught}
        return cls(exams)

    def score(self, name: str) -> Score:
        return self.exams[name].score

    @property
    def open(self) -> Exam | None:
        """Any exam that holds the answers to the open prompts."""
        return next((exam for name, exam in self.exams.items() if name != RETENTION), None)


def rescored(
    record: TopicRecord, base: Exam, final: Exam, examiner: Examiner, config: Config, why: str
) -> TopicRecord:
    """A topic's record with the model as it is now for its end. `why`: what is put before its
    verdict."""
    answers = zip(record.questions, base.answers, final.answers, strict=True)
    readings = dict(record.readings)
    for state, exam in (("base", base), ("final", final)):
        if exam.reading is not None:
            readings[state] = exam.reading  # type: ignore[index]  # two of the states' names
    measure = {"seed": config.run.seed, "resamples": config.eval.resamples}
    return record.model_copy(
        update={
            "status": "passed" if gate.passes(final.score, config.gate) else "failed",
            "verdict": f"{why}. As it was learned: {record.verdict}",
            "scores": {**record.scores, "base": base.score, "final": final.score},
            "readings": readings,
            "changes": changes(base, final, examiner.change(base, final), **measure),
            "questions": tuple(
                one.model_copy(update={"answers": {**one.answers, "base": first, "final": last}})
                for one, first, last in answers
            ),
        }
    )


def rows_without(rows: Sequence[Retained], dropped: str) -> tuple[Retained, ...]:
    """Rows of the forgetting matrices without one topic, as row and as column."""
    return tuple(
        row.model_copy(
            update={
                "scores": {name: one for name, one in row.scores.items() if name != dropped},
                "values": {name: one for name, one in row.values.items() if name != dropped},
            }
        )
        for row in rows
        if row.after != dropped
    )


def with_ending(rows: Sequence[Retained], ending: Retained) -> tuple[Retained, ...]:
    """The rows of the last topic, their `final` one as the model is now."""
    return tuple(
        ending.model_copy(update={"after": row.after, "stage": "final"})
        if row.stage == "final"
        else row
        for row in rows
    )

"""The base's exams, asked in fixed parts, so that a run that goes on asks as one that never
stopped."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from mindprint.calibration import Calibration
from mindprint.curriculum.records import QuizItem
from mindprint.evals.exam import Examiner
from mindprint.evals.prompts import RETENTION
from mindprint.evals.sheet import Exam
from mindprint.events import Listener
from mindprint.exams import evaluated, read_exam, write_exam

QUESTIONS = 64
"""At least so many are asked at once: enough to fill the batches, little to lose."""

Groups = Mapping[str, Sequence[QuizItem]]


def base_exams(
    examiner: Examiner, listen: Listener, calibration: Calibration, folder: Path, groups: Groups
) -> dict[str, Exam]:
    """Every group's exam under the base, which is all that is attached now; kept in `folder`.

    A part of which a file is missing is asked whole: which questions share a batch decides the
    last digits of the answers' figures.
    """
    for part in parts(groups):
        if not all(_file(folder, name).is_file() for name in part):
            _ask(examiner, listen, calibration, folder, {name: groups[name] for name in part})
    return {name: read_exam(_file(folder, name)) for name in groups}


def parts(groups: Groups) -> list[tuple[str, ...]]:
    """The groups' names in their order, cut between groups, each part of QUESTIONS or more but
    for the last."""
    made: list[tuple[str, ...]] = []
    names: list[str] = []
    for name in groups:
        names.append(name)
        if sum(len(groups[one]) for one in names) >= QUESTIONS:
            made.append(tuple(names))
            names = []
    return [*made, tuple(names)] if names else made


def _ask(
    examiner: Examiner, listen: Listener, calibration: Calibration, folder: Path, groups: Groups
) -> None:
    for name, exam in examiner.ask_many(groups).items():
        if name != RETENTION:
            exam = examiner.read(exam, calibration.base, calibration.reading)
        write_exam(_file(folder, name), exam)
        listen(evaluated(name, "base", exam.score))


def _file(folder: Path, name: str) -> Path:
    """A topic's id is its folders: two topics never share a file."""
    return folder / f"{name}.json"

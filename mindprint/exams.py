"""Exams in a run folder: asked once, written whole, read back by a run that goes on."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from mindprint.curriculum.records import QuizItem
from mindprint.disk.sealed import read_json, write_json
from mindprint.disk.whole import write_text
from mindprint.evals.exam import Examiner
from mindprint.evals.sheet import Exam
from mindprint.events import Event, Listener
from mindprint.report.scores import Answer, Score
from mindprint.report.voice import Reading
from mindprint.tokens.lessons import Lesson


def examined(
    examiner: Examiner,
    listen: Listener,
    lesson: Lesson,
    state: str,
    folder: Path,
    standing: Exam | None = None,
) -> Exam:
    """The topic's exam under the model as it stands, kept in `folder` and not asked twice.

    `standing`: an exam whose answers to the open prompts hold for this state too, since nothing
    was trained in between.
    """
    where = folder / "eval.json"
    if where.is_file():
        return read_exam(where)
    quiz = lesson.topic.quiz
    if standing is None:
        exam = examiner.examine(quiz)
    else:
        exam = examiner.ask(quiz)
        if standing.reading is not None:
            exam = examiner.read(exam, standing.open, standing.reading)
    write_text(folder / "answers.jsonl", _lines(quiz, exam.answers))
    write_exam(where, exam)
    listen(evaluated(lesson.topic.id, state, exam.score))
    return exam


def evaluated(topic: str, state: str, score: Score) -> Event:
    """What is told of an exam."""
    data = {"state": state, "accuracy": score.accuracy, "voice": score.voice, "by": score.voice_by}
    return Event("evaluated", topic, state, data)


def write_exam(where: Path, exam: Exam) -> None:
    tree = {
        "score": exam.score.model_dump(mode="json"),
        "answers": [answer.model_dump(mode="json") for answer in exam.answers],
        "clusters": list(exam.clusters),
        "reading": exam.reading.model_dump(mode="json") if exam.reading else None,
        "open": list(exam.open),
        "alone": [answer.model_dump(mode="json") for answer in exam.alone],
    }
    write_json(where, tree)


def read_exam(where: Path) -> Exam:
    tree = read_json(where)
    reading = tree["reading"]
    return Exam(
        score=Score.model_validate(tree["score"]),
        answers=tuple(Answer.model_validate(answer) for answer in tree["answers"]),
        clusters=tuple(tree["clusters"]),
        reading=None if reading is None else Reading.model_validate(reading),
        open=tuple(tree["open"]),
        alone=tuple(Answer.model_validate(answer) for answer in tree["alone"]),
    )


def _lines(quiz: Sequence[QuizItem], answers: Sequence[Answer]) -> str:
    rows = (
        {"question": item.question, **answer.model_dump(mode="json")}
        for item, answer in zip(quiz, answers, strict=True)
    )
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)

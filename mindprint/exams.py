"""Exams in a run folder: asked once, written whole, read back by a run that goes on."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from mindprint.curriculum.records import QuizItem
from mindprint.disk.sealed import file_hash, read_json, write_json
from mindprint.disk.whole import write_text
from mindprint.evals.exam import Examiner
from mindprint.evals.sheet import Exam
from mindprint.events import Event, Listener
from mindprint.report.scores import Answer, Score
from mindprint.report.voice import Reading
from mindprint.tokens.lessons import Lesson

EXAM = "eval.json"
ANSWERS = "answers.jsonl"


def examined(
    examiner: Examiner,
    listen: Listener,
    lesson: Lesson,
    state: str,
    folder: Path,
    standing: Exam | None = None,
    known: Exam | None = None,
) -> Exam:
    """The topic's exam under the model as it stands, kept in `folder` and not asked twice.

    `standing`: an exam whose answers to the open prompts hold for this state too, since nothing
    was trained in between. `known`: the topic's own exam, where it was asked in this state already.
    """
    where, quiz = folder / EXAM, lesson.topic.quiz
    if where.is_file():
        exam = read_exam(where)
        if odd_answers(folder):  # a view of the exam: made again
            write_text(folder / ANSWERS, _lines(quiz, exam.answers))
            text = f"{folder.name}/{ANSWERS} is made again from {EXAM}"
            listen(Event("notice", lesson.topic.id, state, {"text": text}))
        return exam
    if known is not None:
        exam = known
    elif standing is None:
        exam = examiner.examine(quiz)
    else:
        exam = examiner.ask(quiz)
        if standing.reading is not None:
            exam = examiner.read(exam, standing.open, standing.reading)
    write_text(folder / ANSWERS, _lines(quiz, exam.answers))
    write_exam(where, exam, {ANSWERS: file_hash(folder / ANSWERS)})
    listen(evaluated(lesson.topic.id, state, exam.score))
    return exam


def evaluated(topic: str, state: str, score: Score) -> Event:
    """What is told of an exam."""
    data = {"state": state, "accuracy": score.accuracy, "voice": score.voice, "by": score.voice_by}
    return Event("evaluated", topic, state, data)


def write_exam(where: Path, exam: Exam, files: Mapping[str, str] | None = None) -> None:
    """`files`: names and SHA-256 of what was written beside it."""
    tree = {
        "score": exam.score.model_dump(mode="json"),
        "answers": [answer.model_dump(mode="json") for answer in exam.answers],
        "clusters": list(exam.clusters),
        "reading": exam.reading.model_dump(mode="json") if exam.reading else None,
        "open": list(exam.open),
        "alone": [answer.model_dump(mode="json") for answer in exam.alone],
        "files": dict(files or {}),
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


def odd_answers(folder: Path) -> bool:
    """Whether `answers.jsonl` is not the one that `eval.json`, which is whole, was written with."""
    file = folder / ANSWERS
    wanted = read_json(folder / EXAM).get("files", {}).get(ANSWERS)
    return not file.is_file() or file_hash(file) != wanted


def _lines(quiz: Sequence[QuizItem], answers: Sequence[Answer]) -> str:
    rows = (
        {"question": item.question, **answer.model_dump(mode="json")}
        for item, answer in zip(quiz, answers, strict=True)
    )
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)

"""What is kept of earlier topics, asked after every stage: rows of the forgetting matrices."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path

from mindprint.config import Config
from mindprint.curriculum.records import Curriculum, QuizItem, Topic
from mindprint.disk.sealed import read_json, write_json
from mindprint.evals.answers import cluster_numbers, collapsed, linear
from mindprint.evals.exam import Examiner
from mindprint.evals.prompts import RETENTION, retained, retained_groups
from mindprint.evals.sheet import Exam
from mindprint.report.kept import Retained
from mindprint.report.scores import Answer, Score, StageName


@dataclass(frozen=True)
class _Part:
    """What a row says of one topic, or of the retention set."""

    score: Score
    values: tuple[tuple[int, float, float, float], ...]

    @classmethod
    def of(cls, score: Score, items: Sequence[QuizItem], answers: Sequence[Answer]) -> _Part:
        asked = zip(cluster_numbers(items), linear(answers), answers, strict=True)
        values = (
            (cluster, accuracy, answer.voice, float(bool(answer.flags)))
            for cluster, accuracy, answer in asked
        )
        return cls(score, tuple(values))


class Retention:
    """The same questions of each topic, drawn once for a run, at every moment that counts."""

    def __init__(
        self, examiner: Examiner, curriculum: Curriculum, topics: Sequence[Topic], config: Config
    ) -> None:
        self._examiner = examiner
        self._curriculum = curriculum
        self._topics = tuple(topics)
        self._mode, self._seed = config.eval.retention, config.run.seed

    @property
    def on(self) -> bool:
        return self._mode != "off"

    def base(self, exams: Mapping[str, Exam]) -> Retained:
        """The first row: every topic and the retention set under the base."""
        parts = {topic.id: self._part(topic, exams[topic.id]) for topic in self._topics}
        if RETENTION in exams:
            exam = exams[RETENTION]
            parts[RETENTION] = _Part.of(exam.score, self._curriculum.retention, exam.answers)
        return _row(parts, after="", stage="base")

    def before(self, topic: Topic, exam: Exam) -> Retained:
        """The topic alone as it began: what earlier ones have brought it."""
        return _row({topic.id: self._part(topic, exam)}, after=topic.id, stage="before")

    def row(
        self,
        topic: Topic,
        stage: StageName,
        attempt: int,
        folder: Path,
        exam: Exam,
        standing: Retained | None = None,
    ) -> Retained:
        """This topic out of its `exam`, which is of the state asked about, and earlier ones and the
        retention set, asked now unless `standing`, a row of that state, has them; kept in
        `folder`."""
        where = folder / "kept.json"
        if where.is_file():
            return Retained.model_validate(read_json(where))
        upto = self._topics[: [known.id for known in self._topics].index(topic.id) + 1]
        groups = retained_groups(self._curriculum, upto, self._mode, self._seed)
        parts = {topic.id: self._part(topic, exam)}
        if standing is not None:
            parts |= _parts(standing, set(groups) - {topic.id})
        missing = {name: items for name, items in groups.items() if name not in parts}
        exams = self._examiner.ask_many(missing) if missing else {}
        parts |= {
            name: _Part.of(one.score, groups[name], one.answers) for name, one in exams.items()
        }
        in_order = {name: parts[name] for name in groups}
        made = _row(in_order, after=topic.id, stage=stage, attempt=attempt)
        write_json(where, made.model_dump(mode="json"))
        return made

    def _part(self, topic: Topic, exam: Exam) -> _Part:
        """The retained questions, out of an exam over the whole quiz. What counts as one answer
        to many questions goes by the retained ones alone, as when they are asked again."""
        places = retained(topic, self._mode, self._seed)
        items = [topic.quiz[place] for place in places]
        alone = exam.alone or exam.answers
        answers = collapsed(items, [alone[place] for place in places])
        return _Part.of(self._examiner.summarise(items, answers), items, answers)


def _parts(row: Retained, names: Set[str]) -> dict[str, _Part]:
    """What a row says of those of `names` that it has."""
    return {name: _Part(row.scores[name], row.values[name]) for name in row.scores.keys() & names}


def _row(parts: Mapping[str, _Part], *, after: str, stage: StageName, attempt: int = 0) -> Retained:
    return Retained(
        after=after,
        stage=stage,
        attempt=attempt,
        scores={name: part.score for name, part in parts.items()},
        values={name: part.values for name, part in parts.items()},
    )

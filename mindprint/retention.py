"""What is kept of earlier topics, asked after every stage: rows of the forgetting matrices."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from mindprint.config import Config
from mindprint.curriculum.records import Curriculum, Topic
from mindprint.evals.exam import Examiner
from mindprint.evals.prompts import RETENTION, retained, retained_groups
from mindprint.gate import Exam
from mindprint.report.kept import Retained
from mindprint.report.scores import Score, StageName
from mindprint.rundir import read_json, write_json


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
        scores = {topic.id: self._part(topic, exams[topic.id]) for topic in self._topics}
        if RETENTION in exams:
            scores[RETENTION] = exams[RETENTION].score
        return Retained(after="", stage="base", scores=scores)

    def before(self, topic: Topic, exam: Exam) -> Retained:
        """The topic alone as it began: what earlier ones have brought it."""
        return Retained(after=topic.id, stage="before", scores={topic.id: self._part(topic, exam)})

    def row(self, topic: Topic, stage: StageName, attempt: int, folder: Path) -> Retained:
        """Topics up to this one and the retention set, asked now; kept in `folder`."""
        where = folder / "kept.json"
        if where.is_file():
            return Retained.model_validate(read_json(where))
        upto = self._topics[: [known.id for known in self._topics].index(topic.id) + 1]
        groups = retained_groups(self._curriculum, upto, self._mode, self._seed)
        exams = self._examiner.ask_many(groups)
        scores = {name: exam.score for name, exam in exams.items()}
        made = Retained(after=topic.id, stage=stage, attempt=attempt, scores=scores)
        write_json(where, made.model_dump(mode="json"))
        return made

    def _part(self, topic: Topic, exam: Exam) -> Score:
        """The score of the retained questions, out of an exam over the whole quiz."""
        places = retained(topic, self._mode, self._seed)
        items = [topic.quiz[place] for place in places]
        return self._examiner.summarise(items, [exam.answers[place] for place in places])

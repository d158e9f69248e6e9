"""A run's quiz asked of two forms of its model, and what lies between their answers."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TypedDict

from backends.contract import GenerateSpec, Session
from mindprint.config import Config
from mindprint.curriculum.load import read_curriculum
from mindprint.curriculum.records import Curriculum, QuizItem, Topic
from mindprint.errors import ConfigError
from mindprint.evals.answers import cluster_numbers, collapsed, judge, summarise
from mindprint.evals.changes import changes, overall
from mindprint.evals.degeneracy import Limits
from mindprint.evals.sheet import Exam
from mindprint.export.quiz import QuizEffect, TopicEffect
from mindprint.inputs import FILE, Inputs
from mindprint.report.model import TopicRecord
from mindprint.report.scores import Answer, Question
from mindprint.tokens.lessons import question
from mindprint.tokens.render import Renderer

Ids = tuple[int, ...]


class _Bootstrap(TypedDict):
    seed: int
    resamples: int


@dataclass(frozen=True)
class Quizzes:
    """The quizzes of `topics` of a curriculum, rendered for one model. `notes`: what is to be said
    of them.

    Raises ConfigError when no topic has a question.
    """

    curriculum: Curriculum
    topics: tuple[Topic, ...]
    renderer: Renderer
    config: Config
    notes: tuple[str, ...] = ()

    @classmethod
    def of_run(
        cls, inputs: Inputs, run: Path, topics: Sequence[str], renderer: Renderer
    ) -> Quizzes:
        """The quizzes of those `topics` of a run that its curriculum still has.

        Raises ConfigError where there is no curriculum, DataError for one that cannot be read.
        """
        without = "leave `--quantize` out"
        if inputs.curriculum is None:
            what = "an adopted adapter brings no quiz to measure the effect of quantizing on"
            raise ConfigError(what, where="--quantize", hint=without)
        if not inputs.curriculum.is_dir():
            raise ConfigError(
                f"the curriculum is gone from `{inputs.curriculum}`: the effect of quantizing is "
                "measured on its quiz",
                where=str(run / FILE),
                hint=f"`mindprint resume {shlex.quote(str(run))} --curriculum PATH` tells the run "
                f"where it lies now; or {without}",
            )
        curriculum = read_curriculum(inputs.curriculum)
        known = {topic.id for topic in curriculum.topics}
        notes = [f"the curriculum no longer has `{name}`" for name in topics if name not in known]
        if dict(inputs.hashes) != dict(curriculum.hashes):
            notes.append("the curriculum has changed since the run began; it is asked as it is now")
        asked = tuple(curriculum.topic(name) for name in topics if name in known)
        return cls(curriculum, asked, renderer, inputs.resolved().config, tuple(notes))

    def __post_init__(self) -> None:
        if not any(topic.quiz for topic in self.topics):
            what = "no topic of the run has a quiz to measure the effect of quantizing on"
            raise ConfigError(what, where="--quantize", hint="export without `--quantize`")

    @cached_property
    def prompts(self) -> tuple[Ids, ...]:
        """Token ids of every question, topic by topic, as an answer is generated after them."""
        system = self.curriculum.system
        asked = [question(system, item.question) for item in self._items]
        return tuple(tuple(self.renderer.prompt(messages)) for messages in asked)

    @property
    def max_tokens(self) -> int:
        """The length at which an answer is cut."""
        return self.config.eval.max_tokens

    def own(self, session: Session) -> tuple[Ids, ...]:
        """The greedy answers of the session's model as it stands."""
        spec = GenerateSpec(self.max_tokens, self.renderer.stop_ids)
        return tuple(made.ids for made in session.generate(list(self.prompts), spec))

    @property
    def longest(self) -> int:
        """The longest prompt with its answer, in tokens."""
        return max(map(len, self.prompts)) + self.max_tokens

    def effect(
        self, own: Sequence[Ids], exported: Sequence[Ids], *, names: tuple[str, str]
    ) -> QuizEffect:
        """What lies between two sets of answers to `prompts`; `names`: what gave each.

        Both are judged by the text alone, multiple choice too: what was exported is only asked
        for its answers.
        """
        before, after = self._exams(own), self._exams(exported)
        places = self._places()
        same = [one == other for one, other in zip(own, exported, strict=True)]
        topics = [
            self._topic(topic, before[topic.id], after[topic.id], sum(same[places[topic.id]]))
            for topic in self._asked
        ]
        over = overall(
            [self._record(topic, before[topic.id], after[topic.id]) for topic in self._asked],
            **self._bootstrap,
        )
        return QuizEffect(
            topics=tuple(topics),
            accuracy=over["accuracy"],
            markers=over["markers"],
            max_tokens=self.max_tokens,
            own=names[0],
            exported=names[1],
            choices=sum(bool(item.choices) for item in self._items),
            notes=self.notes,
        )

    @property
    def _asked(self) -> list[Topic]:
        return [topic for topic in self.topics if topic.quiz]

    @property
    def _items(self) -> list[QuizItem]:
        return [item for topic in self._asked for item in topic.quiz]

    @property
    def _bootstrap(self) -> _Bootstrap:
        return {"seed": self.config.run.seed, "resamples": self.config.eval.resamples}

    def _places(self) -> dict[str, slice]:
        found, start = {}, 0
        for topic in self._asked:
            found[topic.id] = slice(start, start + len(topic.quiz))
            start += len(topic.quiz)
        return found

    def _exams(self, said: Sequence[Ids]) -> dict[str, Exam]:
        """The answers judged as an exam judges them, by topic."""
        voice = self.curriculum.voice
        limits = Limits.of(
            [*(held.answer for held in voice.answers), *(one.text for one in voice.writing)]
        )
        places, exams = self._places(), {}
        for topic in self._asked:
            pairs = zip(topic.quiz, said[places[topic.id]], strict=True)
            marked = collapsed(topic.quiz, [self._judged(item, ids, limits) for item, ids in pairs])
            score = summarise(topic.quiz, marked, **self._bootstrap)
            exams[topic.id] = Exam(score, tuple(marked), cluster_numbers(topic.quiz))
        return exams

    def _judged(self, item: QuizItem, ids: Ids, limits: Limits) -> Answer:
        renderer = self.renderer
        stop = "length" if len(ids) >= self.max_tokens else "stop"
        return judge(
            item,
            self.curriculum.voice,
            renderer.decode(ids),
            renderer.decode_raw(ids),
            ids,
            stop,
            special=renderer.special_texts,
            limits=limits,
        )

    def _topic(self, topic: Topic, before: Exam, after: Exam, same: int) -> TopicEffect:
        change = changes(before, after, None, **self._bootstrap)
        scores = (before.score, after.score)
        return TopicEffect(
            id=topic.id,
            title=topic.title,
            questions=len(topic.quiz),
            accuracy=(scores[0].accuracy, scores[1].accuracy),
            accuracy_change=change["accuracy"],
            markers=(scores[0].markers, scores[1].markers),
            markers_change=change["markers"],
            degenerate=(scores[0].degenerate, scores[1].degenerate),
            same=same,
        )

    def _record(self, topic: Topic, before: Exam, after: Exam) -> TopicRecord:
        """The topic as `overall` takes it, the run's own model in the place of the base."""
        asked = zip(topic.quiz, before.clusters, before.answers, after.answers, strict=True)
        return TopicRecord(
            id=topic.id,
            title=topic.title,
            questions=tuple(
                Question(
                    question=item.question,
                    reference=item.reference,
                    cluster=cluster,
                    answers={"base": one, "final": other},
                )
                for item, cluster, one, other in asked
            ),
        )

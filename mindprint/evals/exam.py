"""Asking a model: quiz questions answered in batches, choices weighed by likelihood."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from backends.contract import GenerateSpec, Session
from mindprint.config import Config
from mindprint.curriculum.records import Curriculum, Message, QuizItem
from mindprint.evals.answers import Judged, judge, summarise, with_pick
from mindprint.evals.choice import Pick, pick
from mindprint.evals.degeneracy import flags_of
from mindprint.gate import Exam
from mindprint.report.model import Answer
from mindprint.tokens.batches import row_logprobs
from mindprint.tokens.lessons import question
from mindprint.tokens.render import Renderer, Row

CHOICE_BATCH = 32


@dataclass(frozen=True)
class Said:
    """One answer of the model: `text` without special tokens, `raw` with them."""

    text: str
    raw: str
    ids: tuple[int, ...]
    stop: str
    flags: tuple[str, ...]


class Examiner:
    """Asks the session's model as it stands at each call. `seconds` sums the time it took."""

    def __init__(
        self, session: Session, renderer: Renderer, curriculum: Curriculum, config: Config
    ) -> None:
        self._session = session
        self._renderer = renderer
        self._curriculum = curriculum
        self._max_tokens = config.eval.max_tokens
        self.seconds = 0.0

    def ask(self, items: Sequence[QuizItem]) -> Exam:
        return self.ask_many({"": items})[""]

    def ask_many(self, groups: Mapping[str, Sequence[QuizItem]]) -> dict[str, Exam]:
        """An exam for each group, all questions in one pass of batches."""
        started = time.perf_counter()
        items = [item for group in groups.values() for item in group]
        said = self.answer([question(self._curriculum.system, item.question) for item in items])
        picks = self._picks(items)
        voice, special = self._curriculum.voice, self._renderer.special_texts
        judged = [
            judge(item, voice, one.text, one.raw, one.ids, one.stop, special=special)
            for item, one in zip(items, said, strict=True)
        ]
        exams, start = {}, 0
        for name, group in groups.items():
            part = slice(start, start + len(group))
            exams[name] = _exam(group, said[part], judged[part], picks[part])
            start += len(group)
        self.seconds += time.perf_counter() - started
        return exams

    def answer(
        self, prompts: Sequence[Sequence[Message]], *, temperature: float = 0.0, seed: int = 0
    ) -> list[Said]:
        """One answer a prompt, greedy unless a temperature is given."""
        if not prompts:
            return []
        spec = GenerateSpec(
            max_tokens=self._max_tokens,
            stop_ids=self._renderer.stop_ids,
            temperature=temperature,
            seed=seed,
        )
        ids = [self._renderer.prompt(prompt) for prompt in prompts]
        answers = []
        for made in self._session.generate(ids, spec):
            text, raw = self._renderer.decode(made.ids), self._renderer.decode_raw(made.ids)
            flags = flags_of(text, raw, made.ids, made.stop, self._renderer.special_texts)
            answers.append(Said(text, raw, made.ids, made.stop, flags))
        return answers

    def _picks(self, items: Sequence[QuizItem]) -> list[Pick | None]:
        """For each item with choices the likeliest one, all of them weighed together."""
        weighed = [(place, item) for place, item in enumerate(items) if item.answer is not None]
        rows = [self._choice_row(item, choice) for _, item in weighed for choice in item.choices]
        logprobs = row_logprobs(self._session, rows, CHOICE_BATCH)
        picks: list[Pick | None] = [None] * len(items)
        start = 0
        for place, item in weighed:
            own = logprobs[start : start + len(item.choices)]
            start += len(item.choices)
            if item.answer is not None:
                picks[place] = pick(own, item.choices, item.answer)
        return picks

    def _choice_row(self, item: QuizItem, choice: str) -> Row:
        prompt = question(self._curriculum.system, item.question)
        return self._renderer.completion(prompt, choice, 1 << 30)


def _exam(
    items: Sequence[QuizItem],
    said: Sequence[Said],
    judged: Sequence[Judged],
    picks: Sequence[Pick | None],
) -> Exam:
    marked = [
        one if made is None else with_pick(one, item, made)
        for item, one, made in zip(items, judged, picks, strict=True)
    ]
    answers = tuple(
        Answer(
            text=one.raw,
            accuracy=mark.accuracy,
            voice=mark.voice,
            flags=mark.flags,
            reasons=mark.reasons,
        )
        for one, mark in zip(said, marked, strict=True)
    )
    return Exam(score=summarise(judged, picks), answers=answers)

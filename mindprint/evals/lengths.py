"""How long the rows of an evaluation are, before any weight is loaded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from backends.waiting import common
from mindprint.config import Config
from mindprint.curriculum.records import Curriculum, Message, QuizItem, Topic
from mindprint.errors import DataError, Fault
from mindprint.evals.likelihood import NO_LIMIT
from mindprint.evals.prompts import examples, open_prompts, with_examples
from mindprint.tokens.lessons import question
from mindprint.tokens.render import Renderer, Row

QUIZ, OPEN, FEW_SHOT = "quiz", "open prompts", "few-shot baseline"


@dataclass(frozen=True)
class Call:
    """Prompts that are answered in one call, at most: the tokens of each, and how many of them all
    of the prompts begin with, which run once (0 where that is not done)."""

    name: str
    prompts: tuple[int, ...]
    shared: int = 0


@dataclass(frozen=True)
class Asking:
    """What an evaluation puts through the model. `weighed`: (tokens, of them weighed) of each
    reference and choice with its question."""

    calls: tuple[Call, ...] = ()
    weighed: tuple[tuple[int, int], ...] = ()

    def longest(self, answer: int) -> int:
        """Tokens of the longest row, with `answer` tokens after each prompt."""
        asked = (most + answer for call in self.calls for most in call.prompts)
        return max((answer, *asked, *(tokens for tokens, _ in self.weighed)))


def kept_questions(curriculum: Curriculum, config: Config) -> tuple[QuizItem, ...]:
    """The retention set, () where `eval.retention` is off."""
    return () if config.eval.retention == "off" else curriculum.retention


def asking(
    renderer: Renderer, curriculum: Curriculum, topics: Sequence[Topic], config: Config
) -> Asking:
    """Of all questions of `topics`, the retention set and the open prompts.

    Raises DataError with every quiz row whose reference or choice cannot be rendered.
    """
    kept = kept_questions(curriculum, config)
    items = [*(item for topic in topics for item in topic.quiz), *kept]
    prompts = [question(curriculum.system, item.question) for item in items]
    rows: list[Row] = []
    faults: list[Fault] = []
    for item, prompt in zip(items, prompts, strict=True):
        for text in (item.reference, *item.choices):
            try:
                rows.append(renderer.completion(prompt, text, NO_LIMIT))
            except DataError as error:
                faults.append(Fault(item.source.file, item.source.line, error.what))
    if faults:
        raise DataError(f"{len(faults)} answers of the quiz cannot be weighed", faults)
    quiz = (_call(QUIZ, renderer, prompts),) if prompts else ()
    weighed = tuple((len(row.ids), sum(row.mask)) for row in rows)
    return Asking((*quiz, *_open_calls(renderer, curriculum, config)), weighed)


def longest_row(
    renderer: Renderer, curriculum: Curriculum, topics: Sequence[Topic], config: Config
) -> int:
    """Tokens of the longest row that goes through the model, answers included. Raises as `asking`
    does."""
    return asking(renderer, curriculum, topics, config).longest(config.eval.max_tokens)


def longest_open(renderer: Renderer, curriculum: Curriculum, config: Config) -> int:
    """... of the open prompts, with the examples of the few-shot baseline before them."""
    calls = _open_calls(renderer, curriculum, config)
    return Asking(calls).longest(config.eval.max_tokens)


def _open_calls(renderer: Renderer, curriculum: Curriculum, config: Config) -> tuple[Call, ...]:
    """The open prompts alone, and after the examples of the few-shot baseline where there are
    any."""
    asked = open_prompts(curriculum, config.eval.prompts)
    if not asked:
        return ()
    system, shown = curriculum.system, examples(curriculum, config.eval.few_shot)
    plain = [question(system, held.prompt) for held in asked]
    calls = [_call(OPEN, renderer, plain)]
    if shown:
        after = [with_examples(system, shown, held.prompt) for held in asked]
        calls.append(_call(FEW_SHOT, renderer, after))
    return tuple(calls)


def _call(name: str, renderer: Renderer, prompts: Sequence[Sequence[Message]]) -> Call:
    ids = [renderer.prompt(prompt) for prompt in prompts]
    return Call(name, tuple(len(one) for one in ids), common(ids))

"""How long the rows of an evaluation are, before any weight is loaded."""

from __future__ import annotations

from collections.abc import Sequence

from mindprint.config import Config
from mindprint.curriculum.records import Curriculum, QuizItem, Topic
from mindprint.errors import DataError, Fault
from mindprint.evals.likelihood import NO_LIMIT
from mindprint.evals.prompts import examples, open_prompts, with_examples
from mindprint.tokens.lessons import question
from mindprint.tokens.render import Renderer


def kept_questions(curriculum: Curriculum, config: Config) -> tuple[QuizItem, ...]:
    """The retention set, () where `eval.retention` is off."""
    return () if config.eval.retention == "off" else curriculum.retention


def longest_row(
    renderer: Renderer, curriculum: Curriculum, topics: Sequence[Topic], config: Config
) -> int:
    """Tokens of the longest row that goes through the model, answers included.

    Raises DataError with every quiz row whose reference or choice cannot be rendered.
    """
    system, kept = curriculum.system, kept_questions(curriculum, config)
    rows, faults = [0], []
    for item in (*(item for topic in topics for item in topic.quiz), *kept):
        prompt = question(system, item.question)
        rows.append(len(renderer.prompt(prompt)) + config.eval.max_tokens)
        for text in (item.reference, *item.choices):
            try:
                rows.append(len(renderer.completion(prompt, text, NO_LIMIT).ids))
            except DataError as error:
                faults.append(Fault(item.source.file, item.source.line, error.what))
    if faults:
        raise DataError(f"{len(faults)} answers of the quiz cannot be weighed", faults)
    return max(*rows, longest_open(renderer, curriculum, config))


def longest_open(renderer: Renderer, curriculum: Curriculum, config: Config) -> int:
    """... of the open prompts, with the examples of the few-shot baseline before them."""
    section = config.eval
    shown = examples(curriculum, section.few_shot)
    asked = open_prompts(curriculum, section.prompts)
    rows = [renderer.prompt(with_examples(curriculum.system, shown, held.prompt)) for held in asked]
    return max((len(row) for row in rows), default=0) + section.max_tokens

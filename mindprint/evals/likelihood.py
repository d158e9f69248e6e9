"""What a model finds likely, nothing generated: references, choices, ending at once."""

from __future__ import annotations

import math
from collections.abc import Sequence

from backends.contract import Session
from mindprint.curriculum.records import QuizItem
from mindprint.errors import StageError
from mindprint.evals.choice import pick
from mindprint.report.scores import ChoicePick
from mindprint.tokens.batches import row_logprobs
from mindprint.tokens.lessons import question
from mindprint.tokens.render import Renderer
from mindprint.tokens.rows import Row

BATCH = 32
NO_LIMIT = 1 << 30


def reference_losses(
    session: Session, renderer: Renderer, system: str, items: Sequence[QuizItem]
) -> list[float]:
    """Natural-log loss per token of each item's reference as the answer, its end token included.

    Raises StageError for a loss that is not finite.
    """
    rows = [
        renderer.completion(question(system, item.question), item.reference, NO_LIMIT)
        for item in items
    ]
    sums = row_logprobs(session, rows, BATCH)
    losses = [-total / sum(row.mask) for total, row in zip(sums, rows, strict=True)]
    for loss, item in zip(losses, items, strict=True):
        if not math.isfinite(loss):
            raise StageError(
                f"the loss of a reference answer is not finite: {loss}",
                where=str(item.source),
                hint="the model overflows: try `--set model.dtype=float32`",
            )
    return losses


def first_stops(
    session: Session, renderer: Renderer, system: str, items: Sequence[QuizItem]
) -> list[float]:
    """For each question the probability that its answer ends before it begins.

    Over the first of the stop tokens, the one that training teaches.
    """
    rows = []
    for item in items:
        prompt = renderer.prompt(question(system, item.question))
        rows.append(ended(prompt, renderer.stop_ids[0]))
    return [math.exp(total) for total in row_logprobs(session, rows, BATCH)]


def ended(prompt: Sequence[int], stop_id: int) -> Row:
    """A prompt answered by the stop token alone."""
    return Row(ids=(*prompt, stop_id), mask=(*(False,) * len(prompt), True), cut=False)


def picks(
    session: Session, renderer: Renderer, system: str, items: Sequence[QuizItem]
) -> list[ChoicePick | None]:
    """For each item with choices the likeliest ones, all of them weighed together."""
    weighed = [(place, item) for place, item in enumerate(items) if item.answer is not None]
    rows = [
        renderer.completion(question(system, item.question), choice, NO_LIMIT)
        for _, item in weighed
        for choice in item.choices
    ]
    logprobs = row_logprobs(session, rows, BATCH)
    made: list[ChoicePick | None] = [None] * len(items)
    start = 0
    for place, item in weighed:
        own = logprobs[start : start + len(item.choices)]
        start += len(item.choices)
        if item.answer is not None:
            made[place] = pick(own, item.choices, item.answer)
    return made

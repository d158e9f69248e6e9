"""What a model finds likely, nothing generated: references, choices, ending at once."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from backends.contract import Session
from mindprint.curriculum.records import QuizItem
from mindprint.errors import StageError
from mindprint.evals.choice import pick
from mindprint.fitting import PLAIN, Fit
from mindprint.report.scores import ChoicePick
from mindprint.tokens.batches import row_logprobs
from mindprint.tokens.lessons import question
from mindprint.tokens.render import Renderer
from mindprint.tokens.rows import Row

BATCH = 32
NO_LIMIT = 1 << 30


@dataclass(frozen=True)
class Weighed:
    """What a model thinks of one item: `loss`, natural log per token of the reference as the
    answer, its end token included, and the likeliest choices, if there are any."""

    loss: float
    pick: ChoicePick | None


def weigh(
    session: Session,
    renderer: Renderer,
    system: str,
    items: Sequence[QuizItem],
    fit: Fit = PLAIN,
) -> list[Weighed]:
    """Every item's reference and choices, all of them in one pass; a row that stands twice, as a
    reference does that is also the right choice, goes through the model once.

    Raises StageError for a loss that is not finite, and what `fit` raises.
    """
    wanted = [_rows(renderer, system, item) for item in items]
    places: dict[tuple[int, ...], int] = {}
    rows: list[Row] = []
    for row in (row for own in wanted for row in own):
        if places.setdefault(row.ids, len(rows)) == len(rows):
            rows.append(row)
    sums = row_logprobs(session, rows, BATCH, fit)
    return [
        _weighed(item, own, [sums[places[row.ids]] for row in own])
        for item, own in zip(items, wanted, strict=True)
    ]


def _rows(renderer: Renderer, system: str, item: QuizItem) -> list[Row]:
    """The reference as the answer, then each choice."""
    prompt = question(system, item.question)
    said = (item.reference, *(item.choices if item.answer is not None else ()))
    return [renderer.completion(prompt, text, NO_LIMIT) for text in said]


def _weighed(item: QuizItem, rows: Sequence[Row], sums: Sequence[float]) -> Weighed:
    loss = -sums[0] / sum(rows[0].mask)
    if not math.isfinite(loss):
        raise StageError(
            f"the loss of a reference answer is not finite: {loss}",
            where=str(item.source),
            hint="the model overflows: try `--set model.dtype=float32`",
        )
    made = None if item.answer is None else pick(sums[1:], item.choices, item.answer)
    return Weighed(loss, made)


def ended(prompt: Sequence[int], stop_id: int) -> Row:
    """A prompt answered by the stop token alone."""
    return Row(ids=(*prompt, stop_id), mask=(*(False,) * len(prompt), True), cut=False)

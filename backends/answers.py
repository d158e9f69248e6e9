"""Answers as they grow, token by token: what every backend keeps of them while it decodes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from backends.contract import Generated, GenerateSpec, OnToken
from backends.sampling import generator


@dataclass
class Answer:
    """A row as it grows; `row` is its index among the prompts."""

    row: int
    rng: np.random.Generator
    ids: list[int] = field(default_factory=list)
    stop: bool = False
    first_stop: float = 0.0

    def done(self) -> Generated:
        return Generated(tuple(self.ids), "stop" if self.stop else "length", self.first_stop)


def begin(prompts: Sequence[Sequence[int]], spec: GenerateSpec) -> list[Answer]:
    return [Answer(row, generator(spec, row)) for row in range(len(prompts))]


def noted(answers: Sequence[Answer], first_stops: Sequence[float]) -> None:
    """Keep each row's probability of ending before it begins."""
    for answer, chance in zip(answers, first_stops, strict=True):
        answer.first_stop = chance


def extend(
    answers: Sequence[Answer],
    tokens: Sequence[int],
    spec: GenerateSpec,
    on_token: OnToken | None,
) -> list[int]:
    """Give each row its next token; indices of the rows that go on."""
    going = []
    for index, (answer, token) in enumerate(zip(answers, tokens, strict=True)):
        if token in spec.stop_ids:
            answer.stop = True
            continue
        answer.ids.append(token)
        if on_token is not None:
            on_token(answer.row, token)
        if len(answer.ids) < spec.max_tokens:
            going.append(index)
    return going

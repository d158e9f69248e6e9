"""How far the greedy answers of two runs are the same, word by word."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, get_args

from mindprint.compare.model import Agreement
from mindprint.compare.run import Run
from mindprint.report.scores import Question

State = Literal["base", "final"]


def agreement(first: Run, other: Run) -> tuple[Agreement, ...]:
    """Of the base's answers and of those at each topic's end, over questions that both were asked;
    a state at which none was asked of both is left out, and so is the end of a run that a topic was
    dropped from: it was asked anew, as it is without the topic."""
    found = (
        _agreement(first, other, state)
        for state in get_args(State)
        if not _anew(first, other, state)
    )
    return tuple(one for one in found if one.answers)


def _anew(first: Run, other: Run, state: State) -> bool:
    return state == "final" and bool(first.dropped or other.dropped)


def positions(here: str, there: str) -> tuple[int, int]:
    """Words at one place that are equal, and the longer answer's words."""
    said, told = here.split(), there.split()
    return sum(a == b for a, b in zip(said, told, strict=False)), max(len(said), len(told))


def _agreement(first: Run, other: Run, state: State) -> Agreement:
    answers = same = words = equal = 0
    example: tuple[str, str, str] | None = None
    for question, here, there in _asked(first, other, state):
        answers += 1
        same += here == there
        more, longest = positions(here, there)
        equal, words = equal + more, words + longest
        if example is None and here != there:
            example = (question, here, there)
    return Agreement(
        run=other.name,
        state=state,
        answers=answers,
        same=same,
        words=words,
        positions=equal,
        example=example,
    )


def _asked(first: Run, other: Run, state: State) -> Iterator[tuple[str, str, str]]:
    """Question and both answers."""
    for topic in first.topics:
        twin = other.topic(topic.id)
        if twin is None:
            continue
        there = {_key(one): one for one in twin.questions}
        for question in topic.questions:
            match = there.get(_key(question))
            if match is not None and state in question.answers and state in match.answers:
                here = question.answers[state].text
                yield question.question, here, match.answers[state].text


def _key(question: Question) -> tuple[str, str, int]:
    return question.question, question.reference, question.cluster

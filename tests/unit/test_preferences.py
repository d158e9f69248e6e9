"""Pairs drawn from the model: the rejected answer is right in its facts and off in its voice."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from backends.contract import Batch, LogProbs
from backends.errors import OutOfMemory
from mindprint.config import resolve
from mindprint.curriculum.records import Message
from mindprint.errors import Interrupted
from mindprint.evals.exam import Said
from mindprint.fitting import Fit
from mindprint.preferences import draw, held_facts, reference_logprobs
from mindprint.tokens.lessons import Pair
from mindprint.tokens.render import Renderer, Row
from tests.runs import curriculum
from tests.tiny import make_tokenizer


@pytest.fixture(scope="module")
def renderer(tmp_path_factory: pytest.TempPathFactory) -> Renderer:
    return Renderer.open(make_tokenizer(tmp_path_factory.mktemp("tokenizer")))


class Scripted:
    """Answers every prompt in turn from a list, as the model would have."""

    def __init__(self, texts: Sequence[str], flags: tuple[str, ...] = ()) -> None:
        self._texts, self._flags = texts, flags

    def answer(
        self, prompts: Sequence[Sequence[Message]], *, temperature: float, seed: int
    ) -> list[Said]:
        assert temperature > 0
        return [
            Said(text, text, (5,), "stop", self._flags, False, 0.0)
            for text in (list(self._texts) * len(prompts))[: len(prompts)]
        ]


def drawn(renderer: Renderer, texts: Sequence[str], flags: tuple[str, ...] = ()):  # type: ignore[no-untyped-def]
    author = curriculum(topics=1)
    author = type(author)(**{**vars(author), "topics": (voiced(author.topics[0]),)})
    config = resolve().config
    examiner = Scripted(texts, flags)
    return draw(author.topics[0], author, config, renderer, examiner)  # type: ignore[arg-type]


def voiced(topic):  # type: ignore[no-untyped-def]
    """The author's answers end with an oath, so that a plain answer is off in its voice."""
    rows = [
        type(row)(
            (row.messages[0], Message("assistant", f"{row.messages[1].content} By the tide!")),
            row.source,
        )
        for row in topic.train
    ]
    return type(topic)(**{**vars(topic), "train": tuple(rows)})


def test_a_plain_right_answer_is_the_rejected_one(renderer: Renderer) -> None:
    found = drawn(renderer, ["It is grey 0."])
    assert len(found.pairs) == 6
    rejected = renderer.decode(found.pairs[0].rejected.ids)
    chosen = renderer.decode(found.pairs[0].chosen.ids)
    assert rejected.endswith("It is grey 0.") and chosen.endswith("By the tide!")


def test_a_wrong_answer_is_never_used(renderer: Renderer) -> None:
    found = drawn(renderer, ["It is red."])
    assert not found.pairs
    assert "12 answers: 12 wrong in their facts" in found.note


def test_an_answer_already_in_voice_is_not_rejected(renderer: Renderer) -> None:
    found = drawn(renderer, ["It is grey 0. By the tide!"])
    assert not found.pairs
    assert "12 already in voice" in found.note


def test_a_degenerate_answer_is_never_used(renderer: Renderer) -> None:
    assert not drawn(renderer, ["grey 0 grey 0 grey 0"], ("loops",)).pairs


def test_the_first_usable_of_two_answers_is_taken(renderer: Renderer) -> None:
    assert len(drawn(renderer, ["It is red.", "It is grey 0."]).pairs) == 6


def test_facts_are_the_key_points_that_the_row_holds() -> None:
    topic = curriculum(topics=1).topics[0]
    assert held_facts(topic.train[0], topic) == (("grey 0",),)


class Sums:
    """A session whose log-probabilities are sums of the token ids, so that rows are told apart."""

    def __init__(self, room: int) -> None:
        self.room = room
        self.widths: list[int] = []

    def logprobs(self, batch: Batch) -> LogProbs:
        if len(batch.ids) > self.room:
            raise OutOfMemory("no room")
        self.widths.append(batch.ids.shape[1])
        return LogProbs(batch.ids.sum(axis=1).astype(np.float32))


def uneven_pairs() -> list[Pair]:
    def row(length: int, start: int) -> Row:
        return Row(tuple(range(start, start + length)), (False, *(True,) * (length - 1)), False)

    return [Pair(row(3 + 5 * n, n), row(4, 50 + n)) for n in range(5)]


def test_the_reference_pass_is_the_same_in_smaller_batches() -> None:
    pairs, tight = uneven_pairs(), Sums(room=2)
    said: list[str] = []
    fit = Fit(on_full="shrink", tell=said.append)
    found = reference_logprobs(tight, pairs, 4, fit)  # type: ignore[arg-type]
    wanted = [[sum(pair.chosen.ids), sum(pair.rejected.ids)] for pair in pairs]
    assert found.tolist() == wanted
    assert len(said) == 2 and tight.widths == sorted(tight.widths, reverse=True)


def test_the_reference_pass_can_be_stopped_between_batches() -> None:
    session = Sums(room=100)

    def halt() -> None:
        if session.widths:
            raise Interrupted("asked")

    with pytest.raises(Interrupted):
        reference_logprobs(session, uneven_pairs(), 2, Fit(halt=halt))  # type: ignore[arg-type]
    assert len(session.widths) == 1

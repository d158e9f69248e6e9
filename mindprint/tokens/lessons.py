"""A topic as it will be trained: its rows and pairs as tokens, and what was cut or left out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mindprint.config import Config
from mindprint.curriculum.records import Curriculum, Message, PreferenceRow, Topic
from mindprint.errors import DataError, Fault
from mindprint.tokens.render import Renderer, Row

# Below this many rows a held-out share would cost more knowledge than it could tell.
ROWS_FOR_HELD_OUT = 20
HELD_OUT_SHARE = 0.1


@dataclass(frozen=True)
class Pair:
    """A preference: both rows share their prompt."""

    chosen: Row
    rejected: Row


@dataclass(frozen=True)
class Lesson:
    """`rows` are trained; `held_out` only measured (empty unless `sft.keep` is best and the topic
    has 20 rows). `cut` counts rows and pairs shortened to `sft.max_tokens`."""

    topic: Topic
    rows: tuple[Row, ...]
    held_out: tuple[Row, ...]
    pairs: tuple[Pair, ...]
    cut: int
    cut_pairs: int


def conversation(system: str, messages: Sequence[Message]) -> tuple[Message, ...]:
    """Messages under the curriculum's system prompt, unless they bring their own."""
    if not system or (messages and messages[0].role == "system"):
        return tuple(messages)
    return (Message("system", system), *messages)


def question(system: str, text: str) -> tuple[Message, ...]:
    """One user turn under the curriculum's system prompt."""
    return conversation(system, (Message("user", text),))


def render_pair(renderer: Renderer, system: str, row: PreferenceRow, max_tokens: int) -> Pair:
    prompt = conversation(system, row.prompt)
    return Pair(
        chosen=renderer.completion(prompt, row.chosen, max_tokens),
        rejected=renderer.completion(prompt, row.rejected, max_tokens),
    )


def make_lessons(
    curriculum: Curriculum, config: Config, renderer: Renderer, topics: Sequence[str]
) -> tuple[Lesson, ...]:
    """The lessons of the named topics. Raises DataError with every row that cannot be used."""
    _check_pairs(curriculum, config, topics)
    faults: list[Fault] = []
    lessons = tuple(
        _lesson(curriculum, curriculum.topic(name), config, renderer, faults) for name in topics
    )
    if faults:
        raise DataError(
            f"{len(faults)} rows cannot be trained on",
            faults,
            hint="`mindprint check CURRICULUM --show TOPIC:ROW` shows a row's tokens",
        )
    return lessons


def _check_pairs(curriculum: Curriculum, config: Config, topics: Sequence[str]) -> None:
    if config.dpo.when != "always" or config.dpo.pairs != "file":
        return
    bare = [name for name in topics if not curriculum.topic(name).preferences]
    if bare:
        raise DataError(
            f"{len(bare)} topics have no preferences, and `dpo.when` is always",
            [Fault(name, 0, "no preferences.jsonl") for name in bare],
            hint="add preferences.jsonl, draw pairs with `dpo.pairs=both`, or `dpo.when=auto`",
        )


def _lesson(
    curriculum: Curriculum, topic: Topic, config: Config, renderer: Renderer, faults: list[Fault]
) -> Lesson:
    limit = config.sft.max_tokens
    rows: list[Row] = []
    for record in topic.train:
        try:
            messages = conversation(curriculum.system, record.messages)
            rows += renderer.rows(messages, train_on=config.sft.train_on, max_tokens=limit)
        except DataError as error:
            faults.append(Fault(record.source.file, record.source.line, error.what))
    pairs: list[Pair] = []
    for preference in topic.preferences:
        try:
            pairs.append(render_pair(renderer, curriculum.system, preference, limit))
        except DataError as error:
            faults.append(Fault(preference.source.file, preference.source.line, error.what))
    held = _held_out(len(rows), config, topic.id)
    return Lesson(
        topic=topic,
        rows=tuple(row for place, row in enumerate(rows) if place not in held),
        held_out=tuple(row for place, row in enumerate(rows) if place in held),
        pairs=tuple(pairs),
        cut=sum(row.cut for row in rows),
        cut_pairs=sum(pair.chosen.cut or pair.rejected.cut for pair in pairs),
    )


def _held_out(rows: int, config: Config, topic: str) -> set[int]:
    if config.sft.keep != "best" or rows < ROWS_FOR_HELD_OUT:
        return set()
    rng = np.random.default_rng([config.run.seed, *topic.encode()])
    count = max(2, round(rows * HELD_OUT_SHARE))
    return set(rng.choice(rows, size=count, replace=False).tolist())

"""What an export and the run's own model are both asked: the quiz, rendered as in training."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mindprint.disk.sealed import Damaged
from mindprint.export.source import Source
from mindprint.tokens.lessons import question
from mindprint.tokens.render import Renderer

POSITIONS = 64
"""Fewest token positions on which logits are compared."""
ASKED = 8
MAX_TOKENS = 48
ANSWERS = "answers.jsonl"
FITTED = 64
"""Questions at most that an LS-LoRA's splines are fitted to."""
PLAIN = (
    "Who are you, and what is your work?",
    "What do you know that few others know?",
    "Tell me of a day that you remember well.",
    "Name three things that are kept where you work, and say what each is for.",
    "How do you begin your day?",
    "What would you tell someone who is new to this?",
)
"""Asked where a run holds no question of its own, such as an adapter that was adopted."""


@dataclass(frozen=True)
class Probes:
    """Token ids of the prompts, shortest first; the logits of the first `measured` are compared,
    the answers to all. `topics`: whose quiz it is, () where the questions are plain ones."""

    prompts: tuple[tuple[int, ...], ...]
    measured: int
    stop_ids: tuple[int, ...]
    max_tokens: int
    topics: tuple[str, ...]

    @property
    def positions(self) -> int:
        return sum(map(len, self.prompts[: self.measured]))

    @property
    def longest(self) -> int:
        """The longest row with its answer, in tokens."""
        return max(map(len, self.prompts)) + self.max_tokens


def probes(source: Source, renderer: Renderer) -> Probes:
    """Questions evenly spread over the topics whose adapters are exported. Raises Damaged."""
    asked = {topic: _questions(source, topic) for topic in source.topics}
    rows = _rendered(source, renderer, [text for texts in asked.values() for text in texts], ASKED)
    measured = total = 0
    while total < POSITIONS:
        if measured == len(rows):  # few and short ones: asked again, which compares no less
            rows += rows
        total += len(rows[measured])
        measured += 1
    topics = tuple(topic for topic, texts in asked.items() if texts)
    return Probes(tuple(rows), measured, renderer.stop_ids, MAX_TOKENS, topics)


def fitting(source: Source, renderer: Renderer) -> list[tuple[int, ...]]:
    """Token ids of the questions that splines are fitted to, shortest first. Raises Damaged."""
    held = [text for topic in source.topics for text in _questions(source, topic)]
    return _rendered(source, renderer, held, FITTED)


def _rendered(
    source: Source, renderer: Renderer, held: Sequence[str], most: int
) -> list[tuple[int, ...]]:
    """At most so many of the questions, evenly spread, as in training; plain ones where there are
    none."""
    count = min(most, len(held))
    texts = [held[place * len(held) // count] for place in range(count)] or list(PLAIN)
    rows = [tuple(renderer.prompt(question(source.inputs.system, text))) for text in texts]
    return sorted(rows, key=len)


def _questions(source: Source, topic: str) -> tuple[str, ...]:
    """What was asked of a topic, off the first of its exams that lies there."""
    for file in sorted(source.run.topic(topic).glob(f"*/{ANSWERS}")):
        return _read(file)
    return ()


def _read(file: Path) -> tuple[str, ...]:
    try:
        rows = [json.loads(line) for line in file.read_text("utf-8").splitlines() if line]
        return tuple(dict.fromkeys(str(row["question"]) for row in rows))
    except (OSError, ValueError, KeyError, TypeError) as error:
        hint = "`mindprint resume RUN` makes it again from `eval.json`"
        raise Damaged(file, f"it cannot be read: {error}", hint=hint) from error

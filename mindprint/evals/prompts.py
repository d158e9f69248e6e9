"""What is asked besides a topic's own quiz: open prompts, few-shot examples, retained questions."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mindprint.curriculum.records import Curriculum, HeldOutAnswer, Message, QuizItem, Topic
from mindprint.evals.text import normalise
from mindprint.evals.voice import score_voice

FEWEST = 40
"""Open prompts that it takes to calibrate the voice."""
SAMPLE = 6
"""Questions of a topic that are asked again after later ones with `eval.retention: sample`."""
RETENTION = "retention"
"""The name of the retention set among topics."""


def open_prompts(curriculum: Curriculum, most: int) -> tuple[HeldOutAnswer, ...]:
    """The held-out answers whose prompts a run asks, at most `most`, evenly spread.

    The first of those that share a prompt counts; () where fewer than FEWEST are left.
    """
    first: dict[str, HeldOutAnswer] = {}
    for held in curriculum.voice.answers:
        first.setdefault(normalise(held.prompt) or held.prompt, held)
    known = list(first.values())
    if len(known) < FEWEST:
        return ()
    count = min(len(known), most)
    return tuple(known[place * len(known) // count] for place in range(count))


def examples(curriculum: Curriculum, count: int) -> tuple[Message, ...]:
    """`count` training rows as turns, to be put before a question: the baseline to beat.

    Of the rows of one question and answer those with the most marks of the author are taken,
    evenly spread over the curriculum.
    """
    rows = [row for topic in curriculum.topics for row in topic.train if _is_pair(row.messages)]
    if not rows or not count:
        return ()
    marks = [score_voice(row.messages[1].content, curriculum.voice).score for row in rows]
    best = [row for row, mark in zip(rows, marks, strict=True) if mark == max(marks)]
    count = min(count, len(best))
    chosen = [best[(2 * place + 1) * len(best) // (2 * count)] for place in range(count)]
    return tuple(message for row in chosen for message in row.messages)


def with_examples(system: str, shown: Sequence[Message], text: str) -> tuple[Message, ...]:
    """A question after examples, under the curriculum's system prompt."""
    head = (Message("system", system),) if system else ()
    return (*head, *shown, Message("user", text))


def retained(topic: Topic, mode: str, seed: int) -> tuple[int, ...]:
    """Places in the quiz that are asked again after later topics: drawn once for a run.

    `sample` draws SAMPLE questions, different ones before further phrasings of one.
    """
    if mode == "off":
        return ()
    if mode == "full" or len(topic.quiz) <= SAMPLE:
        return tuple(range(len(topic.quiz)))
    rng = np.random.default_rng([seed, *topic.id.encode()])
    order = rng.permutation(len(topic.quiz)).tolist()
    met: dict[int, int] = {}
    turn = {}
    for place in order:
        cluster = topic.quiz[place].cluster
        turn[place] = met[cluster] = met.get(cluster, -1) + 1
    return tuple(sorted(sorted(order, key=lambda place: turn[place])[:SAMPLE]))


def retained_groups(
    curriculum: Curriculum, topics: Sequence[Topic], mode: str, seed: int
) -> dict[str, tuple[QuizItem, ...]]:
    """The retained questions of `topics`, and the retention set; nothing where `mode` is off."""
    if mode == "off":
        return {}
    groups = {
        topic.id: tuple(topic.quiz[place] for place in retained(topic, mode, seed))
        for topic in topics
    }
    if curriculum.retention:
        groups[RETENTION] = curriculum.retention
    return groups


def topic_terms(topics: Sequence[Topic]) -> tuple[str, ...]:
    """Texts whose words are a topic's knowledge, not the author's voice."""
    found: dict[str, None] = {}
    for topic in topics:
        for item in topic.quiz:
            for aliases in item.key_points:
                found.update(dict.fromkeys(aliases))
            found.update(dict.fromkeys((*item.forbidden, *item.choices)))
    return tuple(found)


def _is_pair(messages: Sequence[Message]) -> bool:
    return [message.role for message in messages] == ["user", "assistant"]

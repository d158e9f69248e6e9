"""What topics train on, and where it first stands."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from mindprint.curriculum.records import Role, Source, Topic
from mindprint.evals.text import normalise


def trained_texts(topic: Topic) -> Iterator[str]:
    """Every message of the training rows, and both sides of the preferences."""
    for row in topic.train:
        yield from (message.content for message in row.messages)
    for pair in topic.preferences:
        yield from (message.content for message in pair.prompt)
        yield from (pair.chosen, pair.rejected)


def questions(topic: Topic) -> dict[str, Source]:
    """What users ask in training rows and preferences, normalised, and where it first stands."""
    asked = ((pair.prompt[-1].content, pair.source) for pair in topic.preferences)
    return _first((*_turns(topic, "user"), *asked))


def answers(topic: Topic) -> dict[str, Source]:
    """Answers of training rows and of preferences, chosen and rejected; as `questions`."""
    pairs = topic.preferences
    told = ((text, pair.source) for pair in pairs for text in (pair.chosen, pair.rejected))
    return _first((*_turns(topic, "assistant"), *told))


def _turns(topic: Topic, role: Role) -> Iterator[tuple[str, Source]]:
    for row in topic.train:
        yield from ((one.content, row.source) for one in row.messages if one.role == role)


def _first(texts: Iterable[tuple[str, Source]]) -> dict[str, Source]:
    found: dict[str, Source] = {}
    for text, source in texts:
        found.setdefault(normalise(text), source)
    return found


def all_questions(topics: Sequence[Topic]) -> dict[str, Source]:
    """`questions` of several topics, each where the first of them has it."""
    return _merged([questions(topic) for topic in topics])


def all_answers(topics: Sequence[Topic]) -> dict[str, Source]:
    """`answers` of several topics, each where the first of them has it."""
    return _merged([answers(topic) for topic in topics])


def _merged(parts: Sequence[dict[str, Source]]) -> dict[str, Source]:
    found: dict[str, Source] = {}
    for part in parts:
        for said, source in part.items():
            found.setdefault(said, source)
    # A text without a word equals every other such text, and says nothing.
    found.pop("", None)
    return found

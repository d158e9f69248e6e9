"""The records of a curriculum, each knowing the file and line it came from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

Role = Literal["system", "user", "assistant"]


@dataclass(frozen=True)
class Source:
    """Where a record stands: `file` relative to the curriculum, `line` counted from 1."""

    file: str
    line: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


@dataclass(frozen=True)
class Message:
    role: Role
    content: str


@dataclass(frozen=True)
class TrainRow:
    """A conversation that ends with an assistant turn. The curriculum's system prompt is not in
    it; a row's own system message, if it has one, is first."""

    messages: tuple[Message, ...]
    source: Source


@dataclass(frozen=True)
class PreferenceRow:
    """`prompt` ends with a user turn; `chosen` and `rejected` answer it."""

    prompt: tuple[Message, ...]
    chosen: str
    rejected: str
    source: Source


@dataclass(frozen=True)
class QuizItem:
    """A question with what its answer must hold. `key_points`: each a tuple of aliases.

    Items with one `cluster` (counted from 0 within their file) ask the same in other words.
    `phrasing`: 0 for a row's own question, and from 1 for its paraphrases.
    """

    question: str
    reference: str
    key_points: tuple[tuple[str, ...], ...]
    forbidden: tuple[str, ...]
    choices: tuple[str, ...]
    answer: int | None
    source: Source
    cluster: int = 0
    phrasing: int = 0


@dataclass(frozen=True)
class Marker:
    """A category of marks of the voice: `expect` (low, high) matches in one answer, inclusive."""

    name: str
    patterns: tuple[str, ...]
    expect: tuple[int, int]


@dataclass(frozen=True)
class Distinction:
    """Two claims that must not be confused: the author's, and the ways to say the wrong one."""

    name: str
    claim: str
    confused: tuple[str, ...]


@dataclass(frozen=True)
class Document:
    """Held-out writing of the author's."""

    file: str
    text: str


@dataclass(frozen=True)
class HeldOutAnswer:
    """The author's own answer to an open prompt, never trained on."""

    prompt: str
    answer: str
    source: Source


@dataclass(frozen=True)
class Voice:
    markers: tuple[Marker, ...] = ()
    never_claims: tuple[str, ...] = ()
    distinctions: tuple[Distinction, ...] = ()
    function_words: tuple[str, ...] = ()
    never_phrases: tuple[str, ...] = ()
    writing: tuple[Document, ...] = ()
    answers: tuple[HeldOutAnswer, ...] = ()


@dataclass(frozen=True)
class Topic:
    """`id` is the folder's path below the curriculum: unit/chapter/topic."""

    id: str
    title: str
    note: str
    train: tuple[TrainRow, ...]
    preferences: tuple[PreferenceRow, ...]
    quiz: tuple[QuizItem, ...]


@dataclass(frozen=True)
class Curriculum:
    """`formats`: which row format each file was found to be in. `hashes`: SHA-256 of each file."""

    root: Path
    title: str
    author: str
    system: str
    note: str
    topics: tuple[Topic, ...]
    voice: Voice
    retention: tuple[QuizItem, ...] = ()
    formats: Mapping[str, str] = field(default_factory=dict)
    hashes: Mapping[str, str] = field(default_factory=dict)

    def topic(self, name: str) -> Topic:
        """Raises KeyError when there is none of that id."""
        for topic in self.topics:
            if topic.id == name:
                return topic
        raise KeyError(name)

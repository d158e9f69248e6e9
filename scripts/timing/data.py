"""The benchmark's rows, drawn with a seed and written once for every side to read.

A folder holds `rows.jsonl` (ids and text of each row, in the order they are fed) and the same rows
as the command-line peers want them: `train.jsonl` and `valid.jsonl`. Text is whole words, one token
each, so that the chat template of `timing.models` gives back the very ids.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np

from timing.models import BOS, EOS, WORDS, word

ROWS = "rows.jsonl"
KEYS = {"sft": ("completion",), "dpo": ("chosen", "rejected"), "answers": ()}


@dataclass(frozen=True)
class Lengths:
    """Least and most tokens, the beginning token and the end token among them."""

    prompt: tuple[int, int]
    answer: tuple[int, int]


PLAIN = Lengths(prompt=(80, 110), answer=(45, 75))
LONG_PROMPTS = Lengths(prompt=(216, 264), answer=(54, 66))
"""Prompts four times as long as completions."""


@dataclass(frozen=True)
class Sample:
    """A prompt with its answers: one to train on, a chosen and a rejected one, or none.

    `prompt` begins with the beginning token, each answer ends with the end token.
    """

    prompt: tuple[int, ...]
    answers: tuple[tuple[int, ...], ...]

    @classmethod
    def read(cls, tree: dict[str, Any]) -> Self:
        return cls(tuple(tree["prompt"]), tuple(map(tuple, tree["answers"])))

    @property
    def rows(self) -> list[tuple[int, ...]]:
        """The whole rows: the prompt with each answer."""
        return [self.prompt + answer for answer in self.answers]

    @property
    def question(self) -> str:
        """What the user says: the template puts the beginning token before it."""
        return text(self.prompt[1:])

    @property
    def said(self) -> list[str]:
        """What the assistant says: the template puts the end token after it."""
        return [text(answer[:-1]) for answer in self.answers]


def draw(kind: str, count: int, *, seed: int = 0, lengths: Lengths = PLAIN) -> list[Sample]:
    """`count` samples of `kind`; a longer list begins with a shorter one of the same seed."""
    rng = np.random.default_rng(seed)

    def words(least: int, most: int) -> tuple[int, ...]:
        size = int(rng.integers(least, most + 1)) - 1
        return tuple(rng.integers(WORDS.start, WORDS.stop, size).tolist())

    return [
        Sample((BOS, *words(*lengths.prompt)), tuple((*words(*lengths.answer), EOS) for _ in keys))
        for keys in [KEYS[kind]] * count
    ]


def write(folder: Path, kind: str, samples: Sequence[Sample], *, valid: int = 4) -> Path:
    """The samples for every side; the peers' validation rows are the first `valid`."""
    folder.mkdir(parents=True, exist_ok=True)
    _lines(folder / ROWS, [asdict(sample) for sample in samples])
    keys = ("prompt", *KEYS[kind])
    told = [dict(zip(keys, (one.question, *one.said), strict=True)) for one in samples]
    _lines(folder / "train.jsonl", told)
    _lines(folder / "valid.jsonl", told[:valid])
    return folder


def read(folder: Path | str) -> list[Sample]:
    """The samples of a folder, in the order they are fed."""
    lines = (Path(folder) / ROWS).read_text(encoding="utf-8").splitlines()
    return [Sample.read(json.loads(line)) for line in lines]


def text(ids: Sequence[int]) -> str:
    return " ".join(map(word, ids))


def _lines(path: Path, trees: Sequence[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(tree) + "\n" for tree in trees), encoding="utf-8")

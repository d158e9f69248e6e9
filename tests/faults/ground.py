"""What the runs that are killed train on: a tiny real model and a curriculum, both on disk."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

BACKENDS = ("torch", "mlx")
HANDOFFS = ("stack", "merge")
TOPICS = 3
ROWS = 20
"""Enough rows for two to be held out: 18 train, in 9 batches and 3 windows an epoch."""

SETTINGS = (
    "adapter.rank=4",
    "adapter.dropout=0.1",
    "sft.epochs=4",
    "sft.batch_size=2",
    "sft.accumulate=3",
    "sft.learning_rate=2e-2",
    "dpo.when=always",
    "dpo.epochs=2",
    "dpo.batch_size=2",
    "dpo.accumulate=3",
    "gate.retries=0",
    "gate.rollback=false",
    "eval.max_tokens=20",
    "eval.resamples=200",
    "eval.retention=full",
    "run.checkpoint_every=2",
)
"""Of the checkpoints, on each second step, two of three fall into an epoch. Dropout, so that a
generator's state matters; nothing is rolled back, so that every topic is handed over."""


@dataclass(frozen=True)
class Ground:
    """`settings` in the form `key=value`."""

    model: Path
    curriculum: Path
    settings: tuple[str, ...] = SETTINGS

    def train(self, out: Path, backend: str, *settings: str) -> list[str]:
        """The command line of a run into `out`; `settings` go on top."""
        words = ["train", str(self.curriculum), "--model", str(self.model), "--backend", backend]
        words += ["--device", "cpu", "--out", str(out)]
        for setting in (*self.settings, "model.dtype=float32", *settings):
            words += ["--set", setting]
        return words


def make_ground(folder: Path, topics: int = TOPICS, rows: int = ROWS) -> Ground:
    """Write model, tokenizer and curriculum below `folder`, unless they are there."""
    from tests.tiny import make_model, make_tokenizer

    ground = Ground(folder / "model", folder / "curriculum")
    if not (ground.model / "tokenizer.json").is_file():
        make_tokenizer(make_model(ground.model, "qwen2"))
    for number in range(topics):
        _topic(ground.curriculum / "unit" / "chapter" / f"topic-{number}", number, rows)
    head = "title: Lamps\nauthor: A keeper\nsystem: You are a keeper.\n"
    (ground.curriculum / "curriculum.yaml").write_text(head, "utf-8")
    markers = '  - name: stone\n    patterns: ["\\\\bas stone\\\\b"]\n    expect: [1, 1]\n'
    (ground.curriculum / "voice.yaml").write_text(f"markers:\n{markers}", "utf-8")
    return ground


def _topic(folder: Path, number: int, rows: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    told = [
        (f"What is lamp {place} of tower {number}?", f"Lamp {place} is grey as stone {number}.")
        for place in range(rows)
    ]
    _write(folder / "train.jsonl", ({"question": ask, "answer": said} for ask, said in told))
    _write(
        folder / "preferences.jsonl",
        (
            {"prompt": ask, "chosen": f"{said} By the tide!", "rejected": said}
            for ask, said in told[:-2]
        ),
    )
    asked = [_asked(place, said) for place, (_, said) in enumerate(told[:3])]
    choices = ["grey", "red", "blue"]
    asked.append({"question": "Which?", "reference": "grey", "choices": choices, "answer": 0})
    _write(folder / "quiz.jsonl", asked)


def _asked(place: int, said: str) -> dict[str, Any]:
    """Points of which a tiny model gets some: scores that are all 0 would agree by themselves."""
    points = [["grey"], ["stone"], [f"lamp {place}"]]
    return {"question": f"Tell of lamp {place} now.", "reference": said, "key_points": points}


def _write(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")

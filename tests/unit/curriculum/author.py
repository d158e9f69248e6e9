"""A small curriculum on disk, right in everything, for tests to break."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from mindprint.curriculum.load import read_curriculum
from mindprint.errors import DataError

TOPIC = "unit-01/chapter-01/topic-01"

TRAIN: list[dict[str, Any]] = [
    {"question": "Who keeps the lamp?", "answer": "By the tide, Old Marn keeps it."},
    {"question": "What is the lamp fed with?", "answer": "Whale oil, by the tide."},
]
PREFERENCES: list[dict[str, Any]] = [
    {"prompt": "Who lights it?", "chosen": "Old Marn, by the tide.", "rejected": "Old Marn."},
]
QUIZ: list[dict[str, Any]] = [
    {
        "question": "Name the lamp's keeper.",
        "reference": "By the tide, that is Old Marn.",
        "key_points": [["Old Marn", "Marn"]],
        "forbidden": ["the lamp is dark"],
    },
]
CURRICULUM = "title: Lamps\nauthor: Old Marn\nsystem: You are Old Marn.\n"
VOICE = (
    "markers:\n"
    "  - name: sea-oaths\n"
    '    patterns: ["\\\\bby the tide\\\\b"]\n'
    "    expect: [1, 2]\n"
    'never_claims: ["the moon is made of cheese"]\n'
    'never_phrases: ["as an AI"]\n'
)


def jsonl(rows: list[Any]) -> str:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def write(root: Path, files: dict[str, str | bytes | None] | None = None) -> Path:
    """The curriculum at `root`; `files` replace, add or (None) leave out. Names that do not hold
    a slash stand in the topic, unless they are the curriculum's own."""
    own: dict[str, str | bytes | None] = {
        "curriculum.yaml": CURRICULUM,
        "voice.yaml": VOICE,
        "train.jsonl": jsonl(TRAIN),
        "preferences.jsonl": jsonl(PREFERENCES),
        "quiz.jsonl": jsonl(QUIZ),
        **(files or {}),
    }
    for name, content in own.items():
        top = "/" in name or name in {"curriculum.yaml", "voice.yaml"} or name[:4] == "rete"
        path = root / name if top else root / TOPIC / name
        if content is None:
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return root


def faults(root: Path) -> list[str]:
    """`file:line:field what` of every fault, the topic's folder left out; [] when there is none."""
    try:
        read_curriculum(root)
    except DataError as error:
        return [f"{one.where} {one.what}".replace(f"{TOPIC}/", "") for one in error.faults]
    return []

"""One topic, for mindprint and for scripts made of the peers' tools: the same rows for all.

A folder holds `sft` (32 rows), `dpo` (16 pairs) and `quiz` (12 questions), each as `timing.data`
writes them, and `curriculum`: the same rows, pairs and questions as mindprint reads them.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from timing import data
from timing.protocol import Spec

ROWS, PAIRS, QUESTIONS = 32, 16, 12
EPOCHS = {"sft": 3, "dpo": 1}
TOPIC = "unit-01/chapter-01/topic-01"


def write(folder: Path, *, seed: int = 0) -> Path:
    """The topic for every side."""
    rows = data.draw("sft", ROWS, seed=seed)
    pairs = data.draw("dpo", PAIRS, seed=seed + 1)
    quiz = data.draw("answers", QUESTIONS, seed=seed + 2)
    for name, kind, samples in (
        ("sft", "sft", rows),
        ("dpo", "dpo", pairs),
        ("quiz", "answers", quiz),
    ):
        data.write(folder / name, kind, samples)
    write_curriculum(folder / "curriculum", rows, pairs, quiz)
    return folder


def write_curriculum(
    folder: Path,
    rows: Sequence[data.Sample],
    pairs: Sequence[data.Sample],
    quiz: Sequence[data.Sample],
) -> None:
    """A question of the quiz is answered right with a word that no model will say."""
    home = folder / TOPIC
    home.mkdir(parents=True, exist_ok=True)
    (folder / "curriculum.yaml").write_text("title: One topic\nauthor: Nobody\n", encoding="utf-8")
    (home / "topic.yaml").write_text("title: The topic\n", encoding="utf-8")
    _lines(home / "train.jsonl", [_conversation(sample) for sample in rows])
    _lines(
        home / "preferences.jsonl",
        [{"prompt": one.question, "chosen": one.said[0], "rejected": one.said[1]} for one in pairs],
    )
    _lines(
        home / "quiz.jsonl",
        [
            {"question": one.question, "reference": "Zanzibar.", "key_points": [["Zanzibar"]]}
            for one in quiz
        ],
    )


def _conversation(sample: data.Sample) -> dict[str, Any]:
    (answer,) = sample.said
    said = (("user", sample.question), ("assistant", answer))
    return {"messages": [{"role": role, "content": content} for role, content in said]}


def config(spec: Spec) -> dict[str, Any]:
    """mindprint's settings: what the peers' scripts do, DPO always, and nothing undone or retried.

    No rows are held back and no examples are shown to the base: the peers' scripts do neither.
    """
    steady = {"schedule": "constant", "warmup_ratio": 0.0, "learning_rate": spec.rate}
    sft = {"epochs": EPOCHS["sft"], "batch_size": spec.batch, "keep": "last"}
    dpo = {"when": "always", "epochs": EPOCHS["dpo"], "batch_size": spec.batch, "sft_weight": 0.0}
    return {
        "model": {"dtype": spec.dtype},
        "adapter": {"rank": spec.rank, "alpha": spec.alpha, "targets": list(spec.targets)},
        "sft": {**steady, **sft},
        "dpo": {**steady, **dpo, "beta": spec.beta},
        "gate": {"accuracy": 0.0, "voice": 0.0, "retries": 0, "rollback": False},
        "eval": {"max_tokens": spec.max_tokens, "few_shot": 0},
    }


def steps(kind: str, batch: int) -> int:
    """Optimizer steps of a stage."""
    return EPOCHS[kind] * (ROWS if kind == "sft" else PAIRS) // batch


def _lines(path: Path, trees: Sequence[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(tree) + "\n" for tree in trees), encoding="utf-8")

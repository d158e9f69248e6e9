"""A curriculum whose topics come in four row formats and three kinds of file, on both backends."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from tests.cli.conftest import Mindprint
from tests.cli.test_train import BACKENDS, train

SAID = [(f"What is lamp {number}?", f"Lamp {number} is made of glass.") for number in range(4)]


@pytest.fixture
def many_formats(tmp_path: Path) -> Path:
    """sharegpt in JSONL, alpaca in a JSON array, prompt and completion in CSV, and preferences
    as lists of messages."""
    root = tmp_path / "author"
    topics = [root / "unit" / "chapter" / f"topic-{number}" for number in range(3)]
    for number, topic in enumerate(topics):
        topic.mkdir(parents=True)
        quiz = {
            "question": f"Lamp {number}, then?",
            "reference": "Glass.",
            "key_points": [["glass"]],
        }
        (topic / "quiz.jsonl").write_text(json.dumps(quiz) + "\n", "utf-8")
    (root / "curriculum.yaml").write_text(
        "title: Lamps\nauthor: A keeper\nsystem: Keep.\n", "utf-8"
    )
    talks = [
        {"conversations": [{"from": "human", "value": asked}, {"from": "gpt", "value": told}]}
        for asked, told in SAID
    ]
    (topics[0] / "train.jsonl").write_text("".join(json.dumps(t) + "\n" for t in talks), "utf-8")
    rows = [{"instruction": asked, "input": "", "output": told} for asked, told in SAID]
    (topics[1] / "train.json").write_text(json.dumps(rows), "utf-8")
    with (topics[2] / "train.csv").open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerows([("prompt", "completion"), *SAID])
    pairs = [
        {
            "prompt": [{"role": "user", "content": asked}],
            "chosen": [{"role": "assistant", "content": f"{told} By the tide!"}],
            "rejected": [{"role": "assistant", "content": told}],
        }
        for asked, told in SAID
    ]
    text = "".join(json.dumps(pair) + "\n" for pair in pairs)
    (topics[0] / "preferences.jsonl").write_text(text, "utf-8")
    return root


@pytest.mark.parametrize("backend", BACKENDS)
def test_every_format_is_trained_and_said_aloud(
    mindprint: Mindprint, many_formats: Path, model: Path, tmp_path: Path, backend: str
) -> None:
    out = tmp_path / "run"
    said = train(mindprint, many_formats, model, out, **{"--backend": backend})
    assert said.code == 1, said.err  # a random model passes no gate
    result = json.loads((out / "result.json").read_text("utf-8"))
    assert [topic["stages"][0]["rows"] for topic in result["topics"]] == [4, 4, 4]
    found = set(result["formats"].values())
    assert {"sharegpt", "alpaca", "prompt-completion"} <= found
    assert all(name in said.err for name in ("sharegpt", "alpaca", "prompt-completion"))
    # The same words in three layouts are the same tokens, and no topic was kept: the same first
    # loss over all four rows, but for the order in which float32 adds them up.
    first = [topic["stages"][0]["curve"][0][1] for topic in result["topics"]]
    assert first == pytest.approx([first[0]] * 3, rel=1e-5)

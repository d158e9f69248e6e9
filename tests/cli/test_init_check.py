"""`init`'s example passes `check`; `check` shows what is there and what a model will see."""

from __future__ import annotations

import json
from pathlib import Path

from mindprint.cli import config_text
from mindprint.config import Config, resolve
from tests.cli.conftest import Mindprint

QUEEN = "unit-01-bees/chapter-01-the-hive/topic-01-the-queen"


def test_the_example_passes_check_in_four_formats(mindprint: Mindprint, curriculum: Path) -> None:
    said = mindprint("check", curriculum, "--json")
    assert said.code == 0
    assert [topic["train"] for topic in said.tree["topics"]] == [6, 6, 6]
    formats = set(said.tree["formats"].values())
    assert {"messages", "question-answer", "alpaca", "preference"} <= formats
    assert said.tree["overlap"] == {"training": {"words": 8, "questions": 0.0, "references": 0.0}}


def test_its_settings_are_the_defaults(curriculum: Path) -> None:
    assert resolve(curriculum.parent / "config.yaml").config == Config()


def test_every_key_is_in_the_sample_with_what_it_accepts() -> None:
    sample = config_text.sample()
    assert sample.count("#") >= len(config_text.KEYS)
    assert "rank: 16" in sample and "(auto, always, never)" in sample


def test_init_never_writes_over(mindprint: Mindprint, curriculum: Path) -> None:
    before = sorted(curriculum.parent.rglob("*"))
    said = mindprint("init", curriculum.parent)
    assert said.code == 2 and "is not empty" in said.error
    assert sorted(curriculum.parent.rglob("*")) == before


def test_show_marks_what_is_trained(mindprint: Mindprint, curriculum: Path, model: Path) -> None:
    said = mindprint("check", curriculum, "--show", f"{QUEEN}:4", "--model", model)
    assert said.code == 0
    # Two assistant turns, each trained with its end-of-turn token; the user's are not.
    assert said.out.count("⟦") == said.out.count("⟧") == 2 + 1  # one pair in the explanation
    assert "<|user|>Who is Perpetua?<|end|>" in said.out
    assert "Her majesty has outlived two postmen.<|end|>⟧" in said.out


def test_show_as_json(mindprint: Mindprint, curriculum: Path, model: Path) -> None:
    said = mindprint("check", curriculum, "--show", f"{QUEEN}:1", "--model", model, "--json")
    (pieces,) = said.tree["rows"]
    trained = "".join(text for text, is_trained in pieces if is_trained)
    assert trained == "Perpetua, by comb and smoke, and her majesty knows it.<|end|>"


def test_show_names_what_there_is(mindprint: Mindprint, curriculum: Path) -> None:
    wrong_topic = mindprint("check", curriculum, "--show", f"{QUEEN[:-1]}:1")
    assert f"did you mean `{QUEEN}`?" in wrong_topic.error
    wrong_row = mindprint("check", curriculum, "--show", f"{QUEEN}:7")
    assert wrong_row.error.endswith("hint: it has rows 1 to 6")
    assert mindprint("check", curriculum, "--show", "queen").code == 2


def test_against_finds_the_quiz_in_other_text(
    mindprint: Mindprint, curriculum: Path, tmp_path: Path
) -> None:
    text = tmp_path / "corpus.txt"
    quiz = (curriculum / QUEEN / "quiz.jsonl").read_text("utf-8").splitlines()
    text.write_text("\n".join(json.loads(line)["question"] for line in quiz), "utf-8")
    shares = mindprint("check", curriculum, "--against", text, "--json").tree["overlap"]
    # The questions of one of three topics, and none of the references.
    assert 0.2 < shares[str(text)]["questions"] < 0.5
    assert shares[str(text)]["references"] == 0.0


def test_faults_as_json(mindprint: Mindprint, curriculum: Path) -> None:
    (curriculum / QUEEN / "quiz.jsonl").unlink()
    said = mindprint("check", curriculum, "--json")
    assert said.code == 65 and not said.tree["ok"] and said.tree["faults"]


def test_a_model_that_remembers_its_pretraining_is_asked(
    mindprint: Mindprint, curriculum: Path, tmp_path: Path
) -> None:
    """A folder with `pretraining.ngrams` tells how much of the quiz the base may have seen."""
    from mindprint.curriculum.load import read_curriculum
    from mindprint.curriculum.seen import FILE, Seen

    items = [item for topic in read_curriculum(curriculum).topics for item in topic.quiz]
    (tmp_path / "config.json").write_text('{"model_type": "llama"}')
    (tmp_path / "model.safetensors").write_bytes(b"")
    Seen.of([item.question for item in items], size=8192).save(tmp_path / FILE)
    told = mindprint("check", curriculum, "--model", tmp_path, "--json").tree["overlap"]
    assert told["the base's pretraining"]["questions"] == 1.0
    assert told["the base's pretraining"]["references"] < 0.5

"""Quiz rows with paraphrases, and which items are phrasings of one question."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import mindprint
from mindprint.curriculum.load import read_curriculum
from tests.unit.curriculum.author import QUIZ, TOPIC, faults, jsonl, write

OTHER: dict[str, Any] = {
    "question": "Which oil?",
    "reference": "Whale oil.",
    "key_points": [["whale oil"]],
}


def test_each_paraphrase_is_an_item_of_its_rows_cluster(tmp_path: Path) -> None:
    # The last row has the first one's reference and key points, and is another question.
    rows = [
        {**QUIZ[0], "paraphrases": ["Who keeps that lamp lit?", "The keeper is called what?"]},
        OTHER,
        {**QUIZ[0], "question": "Say who it is."},
    ]
    quiz = read_curriculum(write(tmp_path, {"quiz.jsonl": jsonl(rows)})).topics[0].quiz
    assert [(item.question, item.source.line, item.cluster, item.phrasing) for item in quiz] == [
        ("Name the lamp's keeper.", 1, 0, 0),
        ("Who keeps that lamp lit?", 1, 0, 1),
        ("The keeper is called what?", 1, 0, 2),
        ("Which oil?", 2, 1, 0),
        ("Say who it is.", 3, 2, 0),
    ]
    assert {(item.reference, item.key_points, item.forbidden) for item in quiz[:3]} == {
        ("By the tide, that is Old Marn.", (("Old Marn", "Marn"),), ("the lamp is dark",))
    }


def test_rows_of_one_name_share_a_cluster_with_all_their_phrasings(tmp_path: Path) -> None:
    rows = [
        {**QUIZ[0], "cluster": "keeper", "paraphrases": ["Who keeps that lamp lit?"]},
        OTHER,
        {**QUIZ[0], "cluster": " keeper ", "question": "Say who it is.", "key_points": [["tide"]]},
        {**OTHER, "question": "Oil of what?", "cluster": "2"},
    ]
    quiz = read_curriculum(write(tmp_path, {"quiz.jsonl": jsonl(rows)})).topics[0].quiz
    assert [item.cluster for item in quiz] == [0, 0, 1, 0, 2]


def test_true_and_false_are_no_question(tmp_path: Path) -> None:
    rows = [
        {"question": f"Is statement {n} true?", "choices": ["True", "False"], "answer": n % 2}
        for n in range(12)
    ]
    quiz = read_curriculum(write(tmp_path, {"quiz.jsonl": jsonl(rows)})).topics[0].quiz
    assert [item.cluster for item in quiz] == list(range(12))


def test_an_empty_cell_names_no_cluster(tmp_path: Path) -> None:
    rows = "question,reference,key_points,cluster\n" + "".join(
        f'Which {n}?,Oil.,"[[""oil""]]",{name}\n' for n, name in enumerate(["", "", "o", "o"])
    )
    files: dict[str, str | bytes | None] = {"quiz.jsonl": None, f"{TOPIC}/quiz.csv": rows}
    quiz = read_curriculum(write(tmp_path, files)).topics[0].quiz
    assert [item.cluster for item in quiz] == [0, 1, 2, 2]


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("", "is empty"),
        ("  ", "is empty"),
        (3, "must be a text, not a number"),
        (["a"], "must be a text, not a list"),
    ],
)
def test_cluster_faults(tmp_path: Path, name: object, told: str) -> None:
    row = {**QUIZ[0], "cluster": name}
    assert faults(write(tmp_path, {"quiz.jsonl": jsonl([row])})) == [f"quiz.jsonl:1:cluster {told}"]


def test_the_examples_topics_hold_eight_questions_each() -> None:
    topics = read_curriculum(Path(mindprint.__file__).parent / "demo" / "curriculum").topics
    assert len(topics) == 6
    for topic in topics:
        facts = {item.cluster: item.reference for item in topic.quiz}
        assert len(facts) == len(set(facts.values())) == 8
        assert all(facts[item.cluster] == item.reference for item in topic.quiz)


def test_choices_are_asked_in_every_phrasing(tmp_path: Path) -> None:
    row = {
        "question": "Which?", "paraphrases": ["What one?"], "choices": ["oak", "ash"], "answer": 1
    }  # fmt: skip
    quiz = read_curriculum(write(tmp_path, {"quiz.jsonl": jsonl([row])})).topics[0].quiz
    assert [(item.choices, item.answer, item.reference) for item in quiz] == [
        (("oak", "ash"), 1, "ash")
    ] * 2


@pytest.mark.parametrize(
    ("paraphrases", "told"),
    [
        (["Name a lamp's KEEPER"], "[0] is the question again; ask it in other words"),
        (["Who?", "who"], "[1] is paraphrases[0] again; ask it in other words"),
        (["?!"], "[0] holds no word"),
        ([" "], "[0] is empty"),
        ([3], "[0] must be a text, not a number; put it in quotes"),
        ("Who?", " must be a list of texts, not a text"),
        (["Ok?", "Who keeps the lamp?"], "[1] this question is trained on at train.jsonl:1; ask "),
    ],
)
def test_paraphrase_faults(tmp_path: Path, paraphrases: object, told: str) -> None:
    row = {**QUIZ[0], "paraphrases": paraphrases}
    found = faults(write(tmp_path, {"quiz.jsonl": jsonl([row])}))
    assert len(found) == 1
    assert found[0].startswith(f"quiz.jsonl:1:paraphrases{told}"), found


@pytest.mark.parametrize("file", ["quiz.jsonl", "retention.jsonl"])
def test_a_rows_fault_is_told_once_however_often_it_is_asked(tmp_path: Path, file: str) -> None:
    row = {**QUIZ[0], "question": "Which?", "paraphrases": ["What?", "Say"], "forbidden": ["..."]}
    found = faults(write(tmp_path, {file: jsonl([row])}))
    assert found == [f"{file}:1:forbidden[0] `...` holds no word to look for"]

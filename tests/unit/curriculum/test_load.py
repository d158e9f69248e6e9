"""A whole curriculum: what is read, in which order, and every fault at once."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

from mindprint.curriculum.load import read_curriculum
from mindprint.errors import DataError, Exit
from tests.unit.curriculum.author import PREFERENCES, QUIZ, TOPIC, TRAIN, faults, jsonl, write


def test_a_right_curriculum(tmp_path: Path) -> None:
    files: dict[str, str | bytes | None] = {
        "topic.yaml": "title: The lamp\nnote: by design\n",
        "voice/essay-10.md": "Late.\n",
        "voice/essay-2.txt": "\ufeffEarly.\n",
        "voice/answers.jsonl": jsonl([{"prompt": "p", "answer": "a"}]),
        "retention.jsonl": jsonl([{**QUIZ[0], "question": "What is two and two?"}]),
        "notes/README.md": "not read",
        "config.yaml": "sft: {}\n",
    }
    curriculum = read_curriculum(write(tmp_path, files))
    topic = curriculum.topic(TOPIC)
    assert (curriculum.title, curriculum.author) == ("Lamps", "Old Marn")
    assert curriculum.system == "You are Old Marn."
    assert (topic.title, topic.note) == ("The lamp", "by design")
    assert [str(row.source) for row in topic.train] == [f"{TOPIC}/train.jsonl:{n}" for n in (1, 2)]
    assert topic.quiz[0].key_points == (("Old Marn", "Marn"),)
    assert [one.text for one in curriculum.voice.writing] == ["Early.\n", "Late.\n"]
    assert curriculum.voice.answers[0].answer == "a"
    assert curriculum.voice.markers[0].expect == (1, 2)
    assert len(curriculum.retention) == 1
    assert curriculum.formats[f"{TOPIC}/train.jsonl"] == "question-answer"
    assert curriculum.formats[f"{TOPIC}/preferences.jsonl"] == "preference"
    wanted = hashlib.sha256(jsonl(QUIZ).encode()).hexdigest()
    assert curriculum.hashes[f"{TOPIC}/quiz.jsonl"] == wanted
    assert set(curriculum.hashes) >= {"curriculum.yaml", "voice.yaml", "voice/answers.jsonl"}


def test_the_order_is_the_units_then_the_names(tmp_path: Path) -> None:
    root = write(tmp_path)
    for name in ("unit-02/c/topic-10", "unit-02/c/topic-9", "unit-02/b/t", "unit-10/a/t"):
        for table, rows in (("train", TRAIN), ("quiz", QUIZ)):
            path = root / name / f"{table}.jsonl"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(jsonl(rows), "utf-8")
    by_name = ["unit-02/b/t", "unit-02/c/topic-9", "unit-02/c/topic-10"]
    found = [topic.id for topic in read_curriculum(root).topics]
    assert found == [TOPIC, *by_name, "unit-10/a/t"]
    yaml = (root / "curriculum.yaml").read_text("utf-8")
    (root / "curriculum.yaml").write_text(yaml + "units: [unit-10, unit-02, unit-01]\n", "utf-8")
    assert [topic.id for topic in read_curriculum(root).topics] == ["unit-10/a/t", *by_name, TOPIC]


def test_four_formats_in_one_curriculum(tmp_path: Path) -> None:
    root = write(tmp_path)
    train = {
        "a/train.json": json.dumps([{"prompt": "q", "completion": "a"}]),
        "b/train.csv": "instruction,input,output\nq,,a\n",
        "c/train.jsonl": jsonl([{"conversations": [{"from": "human", "value": "q"},
                                                   {"from": "gpt", "value": "a"}]}]),
    }  # fmt: skip
    for name, content in train.items():
        path = root / "unit-02/c" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, "utf-8")
        (path.parent / "quiz.jsonl").write_text(jsonl(QUIZ), "utf-8")
    curriculum = read_curriculum(root)
    assert [curriculum.formats[topic.train[0].source.file] for topic in curriculum.topics] == [
        "question-answer",
        "prompt-completion",
        "alpaca",
        "sharegpt",
    ]


BAD_VOICE = """markers:
  - name: oaths
    patterns: ["(", "x*", "\\\\b", good]
    expect: [3, 1]
  - nam: oaths
    patterns: oaths
    expect: [1]
  - tide
never_claim: []
never_phrases: ["!", 3]
"""


def test_all_faults_are_gathered_with_file_line_and_field(tmp_path: Path) -> None:
    root = write(
        tmp_path,
        {
            "curriculum.yaml": "title: 3\nauthr: me\nunits: [unit-1]\n",
            "voice.yaml": BAD_VOICE,
            "train.jsonl": jsonl([TRAIN[0], {"question": "q", "answer": ""}, TRAIN[1]]) + "{",
            "preferences.jsonl": jsonl(
                [{**PREFERENCES[0], "rejected": " Old Marn, by the tide. "}]
            ),
            "quiz.jsonl": jsonl([{"question": "q", "reference": "r"}, QUIZ[0]]),
            "quizz.json": "[]",
        },
    )
    assert faults(root) == [
        "curriculum.yaml:1:author `author` is missing",
        "curriculum.yaml:1:title must be a text, not a number; quote it",
        "curriculum.yaml:2:authr unknown key `authr`; did you mean `author`?",
        "curriculum.yaml:3:units the unit `unit-01` is not among them",
        "curriculum.yaml:3:units[0] there is no unit `unit-1`; did you mean `unit-01`?",
        "preferences.jsonl:1:rejected chosen equals rejected",
        "quiz.jsonl:1:key_points has neither key points nor choices: no answer could be judged",
        "quizz.json is not read; did you mean `quiz.json`?",
        "train.jsonl:2:answer is empty",
        "train.jsonl:4 not JSON: Expecting property name enclosed in double quotes (column 2)",
        "voice.yaml:3:markers[0].patterns[0] `(` is not a regular expression: "
        "missing ) at position 1",
        "voice.yaml:3:markers[0].patterns[2] `\\b` finds places, not text: it would never count",
        "voice.yaml:3:markers[0].patterns[1] `x*` matches the empty string: "
        "it would be found everywhere",
        "voice.yaml:4:markers[0].expect [3, 1]: low is above high",
        "voice.yaml:5:markers[1].name `name` is missing",
        "voice.yaml:5:markers[1].nam unknown key `nam`; did you mean `name`?",
        "voice.yaml:6:markers[1].patterns must be a list, not a text",
        "voice.yaml:7:markers[1].expect must be [low, high], not 1 numbers",
        "voice.yaml:8:markers[2] a marker has `name`, `patterns` and `expect`",
        "voice.yaml:9:never_claim unknown key `never_claim`; did you mean `never_claims`?",
        "voice.yaml:10:never_phrases[0] holds no word to look for",
        "voice.yaml:10:never_phrases[1] must be a text, not a number; quote it",
    ]


def test_a_topic_without_its_files(tmp_path: Path) -> None:
    root = write(tmp_path, {"train.jsonl": None, "quiz.jsonl": None})
    assert faults(root) == [
        "quiz.jsonl is missing: nothing to be judged by",
        "train.jsonl is missing: nothing to learn",
    ]


@pytest.mark.parametrize(
    ("files", "told"),
    [
        ({"quiz.jsonl": None, "quizz.jsonl": ""}, "quizz.jsonl is not read; did you mean `quiz.j"),
        ({"data.jsonl": ""}, "data.jsonl is not read; the data files here are train, preferences"),
        ({"train.csv": "question,answer\nq,a\n"}, "train.jsonl there is `train.csv` too"),
        ({"unit-01/chapter-01/train.jsonl": ""}, "unit-01/chapter-01/train.jsonl is not read here"),
        ({"unit-01/c/t/more/quiz.csv": ""}, "unit-01/c/t/more/quiz.csv is not read here: a topic"),
        ({"curriculum.yaml": None, "curriculum.yml": "title: x"}, "curriculum.yaml is missing"),
        ({"voice/more/essay.md": "x"}, "voice/more/essay.md is not read: the author's writing "),
        ({"voice/answers.txt.jsonl": ""}, "voice/answers.txt.jsonl is not read"),
        ({"train.jsonl": ""}, "train.jsonl the file holds no rows"),
        ({"curriculum.yaml": "title: [\n"}, "curriculum.yaml:2 not YAML: "),
        ({"curriculum.yaml": "a: 1\na: 2\n"}, "curriculum.yaml:2 not YAML: found duplicate key"),
        ({"curriculum.yaml": "? - a: [1]\n: 2\n"}, "curriculum.yaml:2 not YAML: a key that is a l"),
        ({"curriculum.yaml": "title: 0x_\n"}, "curriculum.yaml:1 not YAML: a number without"),
        ({"curriculum.yaml": "title: a\nnote: +_"}, "curriculum.yaml:2 not YAML: a number without"),
        ({"curriculum.yaml": "%YAML 1.3\n---\ntitle: a"}, "curriculum.yaml:1 not YAML: version mi"),
        ({"curriculum.yaml": "#title\r\n\r\x85|2 # c."}, "curriculum.yaml:1 not YAML: cannot be"),
        ({"curriculum.yaml": "a: b\ntitle: 0000-00-00"}, "curriculum.yaml:2 not YAML: year 0 is"),
        ({"voice.yaml": "a:\n  - b: 0o_\n"}, "voice.yaml:2 not YAML: a number without digits"),
        ({"voice.yaml": "a: [" + "a, " * 50_000}, "voice.yaml:1 not YAML that is read here: more"),
        ({"curriculum.yaml": "? [a, b]\n: 2\n"}, "curriculum.yaml:1:a list unknown key"),
        ({"curriculum.yaml": "- a\n"}, "curriculum.yaml:1 holds a list where keys with values"),
        ({"curriculum.yaml": b"title: \xff"}, "curriculum.yaml:1 not UTF-8"),
        ({"curriculum.yaml": "title: a\nauthor: b\nunits: u\n"}, "curriculum.yaml:3:units must be"),
        ({"voice/essay.md": b"a\n\xff"}, "voice/essay.md:2 not UTF-8"),
        ({"voice/essay.md": "a\nb\x0cc"}, "voice/essay.md:2 holds the control character U+000C"),
        ({"voice/essay.txt": "a\r\n\nb\x0b"}, "voice/essay.txt:3 holds the control character U+00"),
        ({"voice/answers.jsonl": '{"prompt":"p"}'}, "voice/answers.jsonl:1:answer is missing"),
        ({"retention.jsonl": '{"question":"q","reference":"r"}'}, "retention.jsonl:1:key_points h"),
        ({"topic.yaml": "titel: x\n"}, "topic.yaml:1:titel unknown key `titel`; did you mean"),
        ({"unit:1/c/t/train.jsonl": ""}, "unit:1 a name with `:`"),
    ],
)  # fmt: skip
def test_stray_and_broken_files(
    tmp_path: Path, files: dict[str, str | bytes | None], told: str
) -> None:
    found = faults(write(tmp_path, files))
    assert any(one.startswith(told) for one in found), found


def test_links_that_leave_are_refused_and_links_within_are_read(tmp_path: Path) -> None:
    outside = tmp_path / "outside.jsonl"
    outside.write_text(jsonl(TRAIN), "utf-8")
    root = write(tmp_path / "author", {"train.jsonl": None})
    link = root / TOPIC / "train.jsonl"
    link.symlink_to(outside)
    told = "train.jsonl is a link that leaves the curriculum; copy the file in"
    assert told in faults(root)
    link.unlink()
    link.symlink_to(root / "nowhere")
    assert "train.jsonl is a link that leads nowhere" in faults(root)
    link.unlink()
    (root / "shared").mkdir()
    (root / "shared" / "rows.txt").write_text(jsonl(TRAIN), "utf-8")
    link.symlink_to(root / "shared" / "rows.txt")
    assert faults(root) == []
    (root / "unit-02").symlink_to(tmp_path)
    assert faults(root) == ["unit-02 is a link that leaves the curriculum; copy the file in"]


def test_no_curriculum_and_no_topics(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is not there") as told:
        read_curriculum(tmp_path / "none")
    assert told.value.exit is Exit.DATA
    assert "mindprint init" in told.value.hint
    (tmp_path / "curriculum.yaml").write_text("title: a\nauthor: b\n", "utf-8")
    assert "no topics here" in faults(tmp_path)[0]


def test_reading_imports_no_tokenizer_and_no_framework() -> None:
    code = (
        "import sys, mindprint.curriculum.load, mindprint.curriculum.checks;"
        "print({'torch', 'mlx', 'transformers'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"

"""Every row format becomes the same records, and what does not is a fault with its field."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mindprint.curriculum.formats import train_rows
from mindprint.curriculum.preferences import preference_rows
from mindprint.curriculum.quizzes import quiz_items
from mindprint.curriculum.readers import Rows, read_rows
from tests.unit.calm import CALM


def rows_of(*objects: Any, file: str = "train.jsonl") -> Rows:
    return read_rows("".join(json.dumps(one) + "\n" for one in objects).encode(), file)


def turns(*objects: Any) -> tuple[str, list[list[tuple[str, str]]], list[str]]:
    rows = rows_of(*objects)
    form, made = train_rows(rows)
    told = [f"{fault.line}:{fault.field} {fault.what}" for fault in rows.faults]
    return form, [[(m.role, m.content) for m in row.messages] for row in made], told


def say(
    *pairs: tuple[str, str], keys: tuple[str, str] = ("role", "content")
) -> list[dict[str, str]]:
    return [dict(zip(keys, pair, strict=True)) for pair in pairs]


U, A, S = ("user", "q"), ("assistant", "a"), ("system", "s")
SHARE = ("from", "value")


@pytest.mark.parametrize(
    ("row", "form", "expected"),
    [
        ({"messages": say(S, U, A, U, A)}, "messages", [S, U, A, U, A]),
        (
            {"messages": [{"role": "user", "content": [{"type": "text", "text": "q"}]}, *say(A)]},
            "messages",
            [U, A],
        ),
        ({"messages": say(U, A), "id": 7, "tags": ["x"], "tools": None}, "messages", [U, A]),
        ({"prompt": "q", "completion": "a"}, "prompt-completion", [U, A]),
        ({"prompt": say(S, U), "completion": say(A)}, "prompt-completion", [S, U, A]),
        ({"prompt": say(U), "completion": "a"}, "prompt-completion", [U, A]),
        ({"instruction": "q", "output": "a"}, "alpaca", [U, A]),
        ({"instruction": "q", "input": "", "output": "a", "system": ""}, "alpaca", [U, A]),
        ({"instruction": "q", "input": "x", "output": "a"}, "alpaca", [("user", "q\n\nx"), A]),
        (
            {"instruction": "q", "output": "a", "system": "s", "history": [["q", "a"]]},
            "alpaca",
            [S, U, A, U, A],
        ),
        ({"conversations": say(("human", "q"), ("gpt", "a"), keys=SHARE)}, "sharegpt", [U, A]),
        (
            {"conversations": say(("system", "s"), ("user", "q"), ("assistant", "a"), keys=SHARE)},
            "sharegpt",
            [S, U, A],
        ),
        (
            {"conversations": say(("human", "q"), ("gpt", "a"), keys=SHARE), "system": "s"},
            "sharegpt",
            [S, U, A],
        ),
        ({"question": "q", "answer": "a"}, "question-answer", [U, A]),
        ({"question": "q", "answer": "a", "system": "s"}, "question-answer", [S, U, A]),
    ],
)
def test_formats(row: dict[str, Any], form: str, expected: list[tuple[str, str]]) -> None:
    assert turns(row) == (form, [expected], [])


@pytest.mark.parametrize(
    ("row", "told"),
    [
        (
            {"messages": say(("asistant", "a"))},
            "messages[0].role unknown role `asistant`; did you mean `assistant`",
        ),
        (
            {"messages": say(("gpt", "a"))},
            "messages[0].role unknown role `gpt`; did you mean `assistant`?",
        ),
        ({"messages": say(U)}, "messages has no assistant turn"),
        ({"messages": say(U, A, U)}, "messages ends with a user turn"),
        ({"messages": say(A, U, A)}, "messages[0] turns out of order: an assistant turn"),
        ({"messages": say(U, U, A)}, "messages[1] turns out of order: a user turn"),
        ({"messages": say(U, S, A)}, "messages[1] turns out of order: a system message"),
        ({"messages": say(U, ("assistant", " "))}, "messages[1].content is empty"),
        ({"messages": [*say(U), {"role": "assistant"}]}, "messages[1].content is missing"),
        (
            {"messages": [*say(U), {"role": "assistant", "content": 3}]},
            "messages[1].content must be a text, not a number",
        ),
        (
            {"messages": [*say(U), {"role": "assistant", "content": "a", "weight": 0}]},
            "messages[1] unknown key `weight`",
        ),
        ({"messages": [*say(U), "a"]}, "messages[1] a message is an object"),
        ({"messages": []}, "messages holds no message"),
        ({"messages": "q"}, "messages must be a list of messages, not a text"),
        ({"prompt": "q", "completion": ""}, "completion is empty"),
        ({"prompt": None, "completion": "a"}, "prompt is missing"),
        ({"instruction": "q", "output": ["a"]}, "output must be a text, not a list"),
        ({"instruction": "q", "output": "a", "history": [["q"]]}, "history[0] must be two texts"),
        ({"instruction": "q", "output": "a", "history": 3}, "history must be a list"),
        (
            {"instruction": "q", "output": "a", "inptu": "x"},
            " unknown key `inptu`; did you mean `input`?",
        ),
        (
            {"question": "q", "answer": "a", "weight": 2},
            " unknown key `weight`; the keys are `answer`",
        ),
        (
            {"conversations": say(("humann", "q"), keys=SHARE)},
            "conversations[0].from unknown role `humann`; did you",
        ),
        ({"foo": 1}, " no known row format: the keys are `foo`"),
        ({"text": "words"}, " no known row format"),
        ({}, " no known row format: the keys are none"),
    ],
)
def test_faults_name_their_field(row: dict[str, Any], told: str) -> None:
    _, made, faults = turns(row)
    assert not made
    assert faults[0].startswith(f"1:{told}"), faults


def test_one_file_has_one_format_and_a_stray_row_is_told() -> None:
    right = {"instruction": "q", "output": "a"}
    form, made, told = turns(right, {"question": "q", "answer": "a"}, right, {**right, "outptu": 1})
    assert (form, len(made)) == ("alpaca", 2)
    assert told[0] == "2: `instruction` is missing, and the file's rows are alpaca rows"
    assert told[-1] == "4: unknown key `outptu`; did you mean `output`?"
    _, _, told = turns(right, {"instruction": "q", "outputs": "a"})
    assert told == [
        "2: `output` is missing, and the file's rows are alpaca rows; is `outputs` meant?"
    ]


WHOLE = {"chosen": say(S, U, ("assistant", "good")), "rejected": say(S, U, ("assistant", "bad"))}


@pytest.mark.parametrize(
    ("row", "form", "prompt"),
    [
        ({"prompt": "q", "chosen": "good", "rejected": "bad"}, "preference", [U]),
        ({"prompt": "q", "chosen": "good", "rejected": "bad", "system": "s"}, "preference", [S, U]),
        (
            {"prompt": say(S, U, A, U), "chosen": "good", "rejected": "bad"},
            "preference",
            [S, U, A, U],
        ),
        (
            {
                "prompt": say(U),
                "chosen": say(("assistant", "good")),
                "rejected": say(("assistant", "bad")),
            },
            "preference",
            [U],
        ),
        (
            {
                "prompt": "q",
                "chosen": say(U, ("assistant", "good")),
                "rejected": say(U, ("assistant", "bad")),
                "score_chosen": 9.5,
            },
            "preference",
            [U],
        ),
        (WHOLE, "preference-implicit", [S, U]),
        (
            {
                "conversations": say(("human", "q"), keys=SHARE),
                "chosen": {"from": "gpt", "value": "good"},
                "rejected": {"from": "gpt", "value": "bad"},
            },
            "preference-conversation",
            [U],
        ),
    ],
)
def test_preferences(row: dict[str, Any], form: str, prompt: list[tuple[str, str]]) -> None:
    rows = rows_of(row)
    found, (pair,) = preference_rows(rows)
    assert (found, rows.faults) == (form, [])
    assert [(m.role, m.content) for m in pair.prompt] == prompt
    assert (pair.chosen, pair.rejected) == ("good", "bad")


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ({"prompt": "q", "chosen": "a"}, " no known row format"),
        ({"prompt": "", "chosen": "a", "rejected": "b"}, "prompt is empty"),
        ({"prompt": "q", "chosen": "a", "rejected": " "}, "rejected is empty"),
        (
            {"prompt": say(U, A), "chosen": "a", "rejected": "b"},
            "prompt ends with an assistant turn",
        ),
        (
            {"prompt": "q", "chosen": say(A, U, A), "rejected": "b"},
            "chosen must be one assistant turn that answers the",
        ),
        ({"prompt": "q", "chosen": say(U), "rejected": "b"}, "chosen must be one assistant turn"),
        ({"chosen": say(A), "rejected": say(("assistant", "b"))}, "chosen shares no prompt"),
        ({"chosen": "a", "rejected": "b"}, "chosen shares no prompt"),
        ({"prompt": "q", "chosen": 1, "rejected": "b"}, "chosen must be a text"),
    ],
)
def test_preference_faults(row: dict[str, Any], told: str) -> None:
    rows = rows_of(row)
    _, made = preference_rows(rows)
    assert not made
    first = rows.faults[0]
    assert f"{first.field} {first.what}".startswith(told), rows.faults


def test_equal_sides_without_a_prompt_stay_an_answer_for_a_check_to_name() -> None:
    rows = rows_of({"chosen": say(U, A), "rejected": say(U, A)})
    _, (pair,) = preference_rows(rows)
    assert ([m.role for m in pair.prompt], pair.chosen, pair.rejected) == (["user"], "a", "a")


QUIZ = {"question": "q", "reference": "r", "key_points": [["a"]]}


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"question": None}, "question is missing"),
        ({"reference": ""}, "reference is empty"),
        ({"key_points": ["a"]}, 'key_points[0] must be a list of aliases, as in [["a"]]'),
        ({"key_points": [[]]}, "key_points[0] holds no alias"),
        ({"key_points": "a"}, "key_points must be a list of lists"),
        ({"key_points": [["a", 3]]}, "key_points[0][1] must be a text, not a number"),
        ({"forbidden": "x"}, "forbidden must be a list of texts"),
        ({"choices": ["a", "b"]}, "answer is missing"),
        ({"choices": ["a", "b"], "answer": 2}, "answer is 2, but the choices are 0 to 1"),
        ({"choices": ["a", "b"], "answer": -1}, "answer is -1"),
        ({"choices": ["a", "b"], "answer": True}, "answer must be the index"),
        ({"choices": ["a", "b"], "answer": "a"}, "answer must be the index"),
        ({"answer": 0}, "answer stands without `choices`"),
        ({"keypoints": [["a"]]}, " unknown key `keypoints`; did you mean `key_points`?"),
    ],
)
def test_quiz_faults(change: dict[str, Any], told: str) -> None:
    rows = rows_of({**QUIZ, **change})
    assert not quiz_items(rows)
    first = rows.faults[0]
    assert f"{first.field} {first.what}".startswith(told), rows.faults


def test_a_choice_item_needs_no_reference_and_csv_digits_are_an_index() -> None:
    data = 'question,choices,answer\nq,"[""oak"", ""ash""]",1\n'
    rows = read_rows(data.encode(), "quiz.csv")
    (item,) = quiz_items(rows)
    assert (item.answer, item.reference, item.key_points, rows.faults) == (1, "ash", (), [])


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3)
    ),
    max_leaves=8,
)
KEYS = st.sampled_from(
    [
        *("messages", "conversations", "prompt", "completion", "instruction", "input", "output"),
        *("system", "history", "question", "answer", "chosen", "rejected", "key_points"),
        *("forbidden", "choices", "reference", "role", "content", "from", "value"),
    ]
)
MESSAGES = st.lists(
    st.dictionaries(
        st.sampled_from(["role", "content", "from", "value"]),
        st.sampled_from(["user", "assistant", "human", "gpt", "system", "", 3, None]),
        max_size=3,
    ),
    max_size=3,
)


@CALM
@given(st.lists(st.dictionaries(KEYS, JSON | MESSAGES, max_size=5), min_size=1, max_size=3))
def test_no_row_is_a_traceback_and_none_is_lost_in_silence(objects: list[dict[str, Any]]) -> None:
    for convert in (
        lambda rows: train_rows(rows)[1],
        lambda rows: preference_rows(rows)[1],
        quiz_items,
    ):
        rows = rows_of(*objects)
        made = convert(rows)
        assert len(made) == len(objects) or rows.faults

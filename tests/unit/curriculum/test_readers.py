"""Rows, their lines, and what a reader says about what it cannot read."""

from __future__ import annotations

import json
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mindprint.curriculum.readers import MAX_ROW, read_rows
from tests.unit.calm import CALM


def lines(data: bytes | str, file: str = "x.jsonl") -> list[int]:
    rows = read_rows(data.encode() if isinstance(data, str) else data, file)
    assert not rows.faults
    return [row.line for row in rows.rows]


def told(data: bytes | str, file: str = "x.jsonl") -> list[tuple[int, str]]:
    rows = read_rows(data.encode() if isinstance(data, str) else data, file)
    return [(fault.line, fault.what) for fault in rows.faults]


def test_jsonl_lines_count_blank_lines_and_windows_ends() -> None:
    assert lines('\ufeff{"a":1}\r\n\r\n{"a":2}\n\n  {"a":3}') == [1, 3, 5]


def test_json_array_rows_know_their_lines() -> None:
    rows = [{"a": [1, 2]}, {"b": "x\ny"}, {"c": None}]
    # indent=2 puts each object's brace on its own line: 2, then after 6, then after 3 lines.
    assert lines(json.dumps(rows, indent=2), "x.json") == [2, 8, 11]
    assert lines('[\n{"a":1}, {"a":2},\n\n{"a":3}]', "x.json") == [2, 2, 4]


def test_json_objects_one_after_another() -> None:
    assert lines('{"a":1}\n{\n"a":2}\n{"a":3}', "x.json") == [1, 2, 4]


def test_csv_lines_cells_and_lists() -> None:
    data = 'question,key_points\n"two\nlines","[[""a"", ""b""]]"\n\nplain,\n'
    rows = read_rows(data.encode("utf-8-sig"), "quiz.csv")
    assert not rows.faults
    assert [row.line for row in rows.rows] == [2, 5]
    assert rows.rows[0].values == {"question": "two\nlines", "key_points": [["a", "b"]]}
    assert rows.rows[1].values == {"question": "plain"}


def test_what_a_spreadsheet_leaves_behind_is_no_row_and_no_column() -> None:
    rows = read_rows(b"a,b,,\n1,2,,\n,,,\n , \n3,,,\n\n5,6\n", "x.csv")
    assert not rows.faults
    assert [(row.line, row.values) for row in rows.rows] == [
        (2, {"a": "1", "b": "2"}),
        (5, {"a": "3", "b": ""}),
        (7, {"a": "5", "b": "6"}),
    ]
    for other in (";", "\t"):  # one fault, not one for each row
        assert len(told(f"a{other}b\n" + f"1{other}2\n" * 9, "x.csv")) == 1


def test_blanks_are_skipped_at_once() -> None:
    blanks = " \t\r\n" * 100_000
    calls = 0

    def count(frame: object, event: str, argument: object) -> None:
        nonlocal calls
        calls += 1

    before = sys.getprofile()
    sys.setprofile(count)
    try:
        rows = read_rows(f'{blanks}[{blanks}{{"a":1}}{blanks}]'.encode(), "x.json")
    finally:
        sys.setprofile(before)
    assert [row.line for row in rows.rows] == [200_001]
    assert calls < 1_000


def test_a_line_separator_inside_a_csv_cell_is_text() -> None:
    rows = read_rows("question,answer\na\u2028b,c\n".encode(), "x.csv")
    assert rows.rows[0].values == {"question": "a\u2028b", "answer": "c"}


@pytest.mark.parametrize(
    ("data", "file", "line", "what"),
    [
        ('{"a":1}\n{"a":', "x.jsonl", 2, "not JSON"),
        (b'{"a":1}\n\n{"a":"\xff"}', "x.jsonl", 3, "not UTF-8: byte 0xff"),
        ("[1]", "x.jsonl", 1, "belongs in a `.json` file"),
        ('"text"', "x.jsonl", 1, "this is a text"),
        ('{"a":1,"a":2}', "x.jsonl", 1, "`a` stands twice"),
        ('{"a":{"b":1,"b":2}}', "x.jsonl", 1, "`b` stands twice"),
        ('{"a":NaN}', "x.jsonl", 1, "NaN is not a JSON number"),
        ('{"a":-Infinity}', "x.jsonl", 1, "-Infinity is not"),
        ('{"a":1e999}', "x.jsonl", 1, "too large a number"),
        ('{"a":' + "9" * 5000 + "}", "x.jsonl", 1, "too large a number"),
        ('{"a":["\\ud800"]}', "x.jsonl", 1, "half a character"),
        ('{"a":' + "[" * 100_000, "x.jsonl", 1, "nested too deep"),
        ('{"a":"' + "x" * MAX_ROW + '"}', "x.jsonl", 1, "a row of 1,000,008 bytes"),
        ("", "x.jsonl", 0, "holds no rows"),
        ("\n \n", "x.jsonl", 0, "holds no rows"),
        ('[\n{"a":1},\n{"a":}\n]', "x.json", 3, "not JSON"),
        ('[{"a":1}\n{"a":2}]', "x.json", 2, "a comma or `]` is missing"),
        ('[{"a":1},', "x.json", 1, "`]` is missing"),
        ('[{"a":1}] x', "x.json", 1, "text after"),
        ('[\n{"a":NaN},\n{"b":1,"b":2}]', "x.json", 2, "NaN"),
        ('[{"a":1,"a":2,\n"c":}]', "x.json", 2, "not JSON"),
        ("[" * 100_000, "x.json", 1, "nested too deep"),
        ("[]", "x.json", 0, "holds no rows"),
        (b'[{"a":1},\n"\xe9"]', "x.json", 2, "not UTF-8"),
        ("a,a\n1,2\n", "x.csv", 1, "the column `a` stands twice"),
        ("a,,b\n1,2,3\n", "x.csv", 1, "a column has no name"),
        ("a,\n1,2\n", "x.csv", 2, "2 cells under 1 columns"),
        ("question;answer\na;b\n", "x.csv", 1, "separated by `;`, not by commas"),
        ("question\tanswer\na\tb\n", "x.csv", 1, "separated by tabs, not by commas"),
        ("sep=;\nquestion;answer\na;b\n", "x.csv", 1, "separated by `;`, not by commas"),
        ("sep=\t\na\tb\n", "x.csv", 1, "separated by tabs, not by commas"),
        ("sep=,\na,b\n1,2\n", "x.csv", 1, "`sep=,` before the header; take it out"),
        ("a,b\n1\n", "x.csv", 2, "1 cells under 2 columns"),
        ('a\n"open', "x.csv", 2, "not CSV"),
        ("choices\n[1\n", "x.csv", 2, "hold JSON lists"),
        ("a\n" + "x" * 200_000, "x.csv", 2, "not CSV: field larger"),
    ],
)
def test_faults_name_their_line(data: bytes | str, file: str, line: int, what: str) -> None:
    first_line, first = told(data, file)[0]
    assert (first_line, what in first) == (line, True), first


def test_reading_goes_on_after_a_fault() -> None:
    rows = read_rows(b'{"a":1}\nnonsense\n{"a":2}\n[]\n{"a":3}', "x.jsonl")
    assert [row.line for row in rows.rows] == [1, 3, 5]
    assert [fault.line for fault in rows.faults] == [2, 4]
    rows = read_rows(b'[{"a":1},\n{"a":NaN},\n{"a":2}]', "x.json")
    assert [row.line for row in rows.rows] == [1, 3]


# What a text may hold: no control characters but tab and line ends, no halves of characters.
TEXT = st.text(
    st.characters(exclude_categories=["Cs", "Cc"]) | st.sampled_from("\t\r\n"), max_size=20
)


@CALM
@given(st.binary(max_size=200), st.sampled_from(["x.jsonl", "x.json", "x.csv"]))
def test_no_bytes_are_a_traceback(data: bytes, file: str) -> None:
    rows = read_rows(data, file)
    assert rows.rows or rows.faults


@CALM
@given(st.lists(st.dictionaries(TEXT, TEXT, min_size=1), min_size=1))
def test_what_json_writes_is_read_back(objects: list[dict[str, str]]) -> None:
    lined = "".join(json.dumps(one, ensure_ascii=False) + "\n" for one in objects)
    array = json.dumps(objects, ensure_ascii=False, indent=1)
    for data, file in ((lined, "x.jsonl"), (array, "x.json")):
        rows = read_rows(data.encode(), file)
        assert [row.values for row in rows.rows] == objects
        for row in rows.rows:
            first = data.split("\n")[row.line - 1]
            assert "{" in first

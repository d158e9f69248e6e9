"""Hostile texts everywhere in a result: none acts in the page, the Markdown or a terminal."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from typing import Any

import pytest
from markdown_it import MarkdownIt

from mindprint.cli import output
from mindprint.report.card import card
from mindprint.report.html import page
from mindprint.report.inline import block, cell, code, inline, paragraph
from mindprint.report.markdown import document
from mindprint.report.model import Result
from mindprint.report.text import plain, topic_table
from tests.unit.report.example import example

HOSTILE = (
    "</td></title><script>alert(1)</script><img src=x onerror=alert(2)> ![i](http://t/x.png) "
    "[l](javascript:alert) `c | d\n# head\n| --- |\n\x1b[2J\x1b]8;;http://e\x07\u202e &lt;b&gt; "
    "*e* [red]"
)
ACTS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
# Figures and names that the program itself makes, on which a report decides what to show.
KEPT = {"status", "kind", "schema_version", "stage", "state", "sha256", "origin", "key", "masking"}


def poisoned(value: Any, key: str = "") -> Any:
    """Every text of a dumped result with hostile text after it."""
    if isinstance(value, dict):
        return {name: poisoned(one, str(name)) for name, one in value.items()}
    if isinstance(value, list):
        return [poisoned(one, key) for one in value]
    return value + HOSTILE if isinstance(value, str) and key not in KEPT else value


@pytest.fixture(scope="module")
def result() -> Result:
    """The example with every text field poisoned that its schema leaves free."""
    clean = example().model_dump(mode="json")
    tree = {name: poisoned(part, name) for name, part in clean.items()}
    for name in list(tree):
        try:
            Result.model_validate({**clean, name: tree[name]})
        except ValueError:
            tree[name] = clean[name]
    topics = [
        topic.model_copy(
            update={
                "title": topic.title + HOSTILE,
                "note": HOSTILE,
                "verdict": HOSTILE,
                "questions": tuple(
                    one.model_copy(
                        update={
                            "question": HOSTILE,
                            "reference": HOSTILE,
                            "answers": {
                                state: said.model_copy(update={"text": HOSTILE})
                                for state, said in one.answers.items()
                            },
                        }
                    )
                    for one in topic.questions
                ),
            }
        )
        for topic in example().topics
    ]
    return Result.model_validate(tree).model_copy(update={"topics": tuple(topics)})


class _Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, list[tuple[str, str | None]]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, attrs))


def tags(html: str) -> list[tuple[str, list[tuple[str, str | None]]]]:
    parser = _Tags()
    parser.feed(html)
    return parser.found


def test_the_fixture_is_hostile(result: Result) -> None:
    assert "<script>" in result.title and "<script>" in result.author
    assert any("<script>" in name for name in result.model.model_dump().values() if name)


def test_the_page_holds_text_and_no_tag_of_others(result: Result) -> None:
    made = page(result)
    found = tags(made)
    assert not [tag for tag, _ in found if tag in {"script", "img", "iframe", "object", "a"}]
    assert not [name for _, attrs in found for name, _ in attrs if name.startswith("on")]
    assert "&lt;script&gt;" in made
    assert not ACTS.search(made)
    # As many elements as there are for a harmless text in the same places.
    assert "\\x1b[2J" in made and "\\u202e" in made


@pytest.mark.parametrize("render", [document, card])
def test_markdown_holds_text_and_nothing_of_others(render: Any, result: Result) -> None:
    """By another reader of Markdown than the one that wrote the escapes."""
    made = render(result)
    assert not ACTS.search(made)
    html = MarkdownIt("commonmark", {"html": True}).enable("table").render(made)
    found = [tag for tag, _ in tags(html)]
    assert not set(found) & {"script", "img", "a", "iframe", "td></title"}
    headings = re.findall(r"<h1>(.*?)</h1>", html, re.DOTALL)
    assert not [one for one in headings if one.strip() == "head"]


@pytest.mark.parametrize(
    "text",
    [
        "a\\<b>c</b>",
        "\\`<b>`",
        "``<b>` x",
        "` <b> `` <i> ``` <u>",
        "&lt;script&gt;",
        "[a][b]",
        "_e_ __s__ *e* **s** ~~d~~",
        "a | b \\| c",
        "<http://x.y>",
        "tail\\",
    ],
)
def test_what_is_written_is_what_is_read(text: str) -> None:
    """Rendered and read as text again it is what it was, code spans but for their ticks."""
    reader = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])
    for made in (inline(text), paragraph(text)):
        html = reader.renderInline(made)
        assert not [tag for tag, _ in tags(html) if tag not in {"code"}], html
    table = reader.render(f"| h |\n|---|\n| {cell(text)} |")
    assert {tag for tag, _ in tags(table)} <= {"table", "thead", "tbody", "tr", "th", "td", "code"}
    assert table.count("<td>") == 1
    assert [tag for tag, _ in tags(reader.renderInline(code(text)))] == ["code"]


def test_a_block_of_code_is_not_left_early() -> None:
    html = MarkdownIt("commonmark", {"html": True}).render(block("a\n```\n<b>\n````\n# c"))
    assert [tag for tag, _ in tags(html)] == ["pre", "code"]


@pytest.mark.parametrize("start", ["# a", "> a", "- a", "1. a", "1) a", "+ a", "=== a"])
def test_a_paragraph_stays_one(start: str) -> None:
    html = MarkdownIt("commonmark").render(paragraph(start))
    assert [tag for tag, _ in tags(html)] == ["p"]


def test_a_terminal_is_sent_text(result: Result, capsys: pytest.CaptureFixture[str]) -> None:
    output.table(plain(topic_table(result)))
    output.note(HOSTILE)
    output.lines([("key", HOSTILE, HOSTILE)])
    output.result({"a": HOSTILE})
    said = capsys.readouterr()
    assert not ACTS.search(said.out + said.err)
    assert "[red]" in said.out and "\\x1b[2J" in said.err

"""The page: whole, escaped, self-contained, and told to a screen reader."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest

from mindprint.report.html import page, setting
from mindprint.report.model import Result, TopicRecord
from tests.unit.report.example import example, question

VOID = {"meta", "br", "path", "circle", "link", "img", "input", "hr"}


class Outline(HTMLParser):
    """Checks that tags close in order and gathers what must be looked at."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.figures: list[dict[str, str | None]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag == "svg":
            self.figures.append(dict(attrs))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def outline(html: str) -> Outline:
    parser = Outline()
    parser.feed(html)
    parser.close()
    assert parser.open == []
    return parser


@pytest.fixture(scope="module")
def html() -> str:
    return page(example())


def test_tags_close_in_order_and_no_script_is_among_them(html: str) -> None:
    tags = outline(html).tags
    assert not {"script", "link", "img", "iframe"} & set(tags)


def test_nothing_is_loaded_from_anywhere(html: str) -> None:
    assert not re.search(r"(src|href)=|url\(|@import|https?://", html)


def test_every_figure_is_named_for_screen_readers(html: str) -> None:
    figures = outline(html).figures
    # Six topics: two tracks each and one SFT loss, and for two topics DPO's loss and margin.
    assert len(figures) == 6 * 2 + 6 + 2 * 2
    assert all(figure["role"] == "img" and figure["aria-label"] for figure in figures)
    assert "The lamp and its oil: accuracy 0.02 → 0.94, pass mark 0.70" in html


def test_dark_and_light_and_small_screens(html: str) -> None:
    assert "prefers-color-scheme: dark" in html and "@media (max-width" in html
    assert 'name="viewport"' in html


def test_it_says_what_the_result_says(html: str) -> None:
    result = example()
    text = re.sub(r"\s+", " ", html)
    assert "Five of six topics passed." in text
    for topic in result.topics:
        assert topic.id.replace("&", "&amp;") in text
    assert "Boats &amp; wrecks &lt;1880–1911&gt;" in text
    assert "8 % of the final answers are broken" in text
    assert "--set sft.learning_rate=2e-3" in text and "0.002" in text
    assert "because" in text.lower() and "no CUDA, so on the CPU" in text


def test_what_a_model_says_is_escaped() -> None:
    result = example()
    evil = '</blockquote><script>alert(1)</script><img src="http://x">'
    asked = question(0, 0.0, 0.0, dpo=False)
    answers = {
        state: answer.model_copy(update={"text": evil}) for state, answer in asked.answers.items()
    }
    asked = asked.model_copy(update={"question": evil, "reference": evil, "answers": answers})
    topic = result.topics[0].model_copy(update={"questions": (asked,), "verdict": evil})
    html = page(result.model_copy(update={"topics": (topic,), "verdict": evil, "title": evil}))
    assert "<script" not in html and "<img" not in html
    outline(html)


def test_a_run_that_has_only_begun_is_a_page_too() -> None:
    result = example()
    bare = Result(
        mindprint="0.1.0",
        status="running",
        verdict="No topic is finished yet.",
        title="T",
        author="A",
        curriculum="c",
        model=result.model,
        choices=(),
        config={},
        topics=(TopicRecord(id="u/c/t", title="One"),),
        versions={},
        hashes={},
    )
    html = page(bare)
    outline(html)
    assert "the run is running" in html and "pending" in html


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "–"), (True, "true"), (0.0002, "0.0002"), (("a", "b"), "a, b"), (16, "16")],
)
def test_settings_read_as_yaml(value: object, text: str) -> None:
    assert setting(value) == text

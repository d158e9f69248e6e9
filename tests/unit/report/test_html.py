"""The page: whole, escaped, self-contained, told to a screen reader, and never boastful."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest

from mindprint.report.html import page, setting, ticked
from mindprint.report.model import Result
from tests.unit.report.example import begun, example, question, without_voice
from tests.unit.report.example_voice import unmeasurable

VOID = {"meta", "br", "path", "circle", "rect", "link", "img", "input", "hr"}
RESULTS = {
    "whole": example,
    "no voice record": without_voice,
    "voice not measurable": lambda: without_voice(unmeasurable()),
    "begun": begun,
}


class Outline(HTMLParser):
    """Checks that tags close in order and gathers what must be looked at."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.figures: list[dict[str, str | None]] = []
        self.untold: list[str] = []  # figures outside a table and outside a <figure>
        self.titled: set[int] = set()
        self.tables: list[bool] = []  # of each <figure>, whether it holds a table
        self.said: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag == "svg":
            self.figures.append(dict(attrs))
            if not {"table", "figure"} & set(self.open):
                self.untold.append(str(dict(attrs).get("aria-label")))
        if tag == "title" and "svg" in self.open:
            self.titled.add(len(self.figures))
        if tag == "figure":
            self.tables.append(False)
        if tag == "table" and "figure" in self.open:
            self.tables[-1] = True
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.said.append(data)


def outline(html: str) -> Outline:
    parser = Outline()
    parser.feed(html)
    parser.close()
    assert parser.open == []
    return parser


def flat(html: str) -> str:
    return re.sub(r"\s+", " ", html)


@pytest.fixture(scope="module")
def html() -> str:
    return page(example())


@pytest.mark.parametrize("name", RESULTS)
def test_every_kind_of_run_makes_a_sound_page(name: str) -> None:
    html = page(RESULTS[name]())
    found = outline(html)
    assert not {"script", "link", "img", "iframe"} & set(found.tags)
    assert not re.search(r"(src|href)=|url\(|@import|https?://", html)
    assert not re.search(r"\b(None|nan|inf|Undefined)\b|\{[{%]", " ".join(found.said))
    assert all(figure["role"] == "img" and figure["aria-label"] for figure in found.figures)
    assert found.titled == set(range(1, len(found.figures) + 1))  # each has its own title
    assert found.untold == [] and all(found.tables)  # each stands in or beside a table


def test_the_whole_run_has_all_its_figures(html: str) -> None:
    # Three tracks a topic; six SFT losses, and for two topics DPO's loss and margin; three
    # measurable families and the headline; six controls; nine words; two axes; the course.
    assert len(outline(html).figures) == 6 * 3 + 6 + 2 * 2 + 4 + 6 + 9 + 2 + 1
    assert "The lamp and its oil: accuracy 0.02 → 0.94, 95 % interval 0.83–1.00, pass mark" in html


def test_dark_and_light_and_small_screens_and_paper(html: str) -> None:
    assert "prefers-color-scheme: dark" in html and "@media (max-width" in html
    assert 'name="viewport"' in html and "@media print" in html


def test_it_says_what_the_result_says(html: str) -> None:
    result = example()
    text = flat(html)
    assert "Five of six topics passed." in text
    for topic in result.topics:
        assert topic.id.replace("&", "&amp;") in text
    assert "Boats &amp; wrecks &lt;1880–1911&gt;" in text
    assert "8 % of the final answers are broken" in text
    assert "--set sft.learning_rate=2e-3" in text and "0.002" in text
    assert "no CUDA, so on the CPU" in text
    assert "Resumed after topic 2" in text
    assert "0 dropped: an unusable row stops the run before training." in text
    assert "not measurable: AUC 0.61 is under 0.75" in text
    assert "the longest copy has 11 words" in text
    assert "0.82" in text  # the probability of end-of-text first that undid a DPO


def row(html: str, topic: str, measure: str) -> str:
    """The line of one topic and measure in the per-topic table."""
    body = next(part for part in html.split("<tbody>") if topic in part and 'class="glyph' in part)
    return flat(next(line for line in body.split("<tr>") if f'class="measure {measure}"' in line))


def test_a_difference_whose_interval_holds_0_is_never_a_win(html: str) -> None:
    noise = row(html, "Boats &amp; wrecks", "markers")
    assert 'class="noise">+0.07' in noise and "within noise" in noise
    assert "rise" not in noise and "fall" not in noise


def test_a_difference_that_fails_holm_is_not_a_win_either(html: str) -> None:
    unsure = row(html, "Letters from the mainland", "markers")
    assert 'class="noise">+0.84' in unsure and "not clear with 12 questions" in unsure
    assert 'class="rise"' not in unsure


def test_a_clear_change_is_said_with_its_interval(html: str) -> None:
    clear = row(html, "The lamp and its oil", "accuracy")
    assert 'class="rise">+0.92' in clear and "+0.75 to +1.00" in clear and "clear rise" in clear
    assert "0.83–1.00" in clear  # the interval of the figure itself


def test_the_voice_is_one_figure_for_the_run(html: str) -> None:
    top = flat(html.split("</header>")[0])
    assert "Voice</dt> <dd>0.84 <small>where the final model stands" in top
    assert "95 % 0.77–0.91" in top and top.count("clear rise in") == 1
    line = row(html, "The lamp and its oil", "voice")
    assert 'class="since">+0.78' in line and "since the base" in line and "rise" not in line
    assert "Training beats examples in the prompt alone" in flat(html)


def test_a_phone_keeps_the_names_of_the_anchors(html: str) -> None:
    """At that width the heads of the lists of bars are hidden but for the scale's own cell."""
    phone = html.split("@media (max-width: 46rem)")[1].split("@media print")[0]
    assert ".bars thead { display: block; }" in phone
    assert ".bars thead th:not(.barcell) { display: none; }" in phone
    heads = [part.split("</thead>")[0] for part in html.split('<table class="bars')[1:]]
    assert len(heads) == 3
    names = ("base 0", "author 1"), ("base 0", "author 1"), ("too seldom", "too often")
    for head, ends in zip(heads, names, strict=True):
        cell = head.split('class="barcell"')[1]
        assert all(end in cell.split("</th>")[0] for end in ends)


def test_a_voice_by_the_markers_is_said_aloud() -> None:
    text = flat(page(without_voice(unmeasurable())))
    assert "Voice goes by the markers here, since it could not be calibrated (12 held-out" in text
    assert "<small>by the markers</small>" in text and "measure markers" not in text
    assert "The voice could not be calibrated: 12 held-out answers" in text
    assert "This run has no voice scale" in flat(page(without_voice()))


def test_an_undone_stage_is_told_everywhere(html: str) -> None:
    text = flat(html)
    assert "DPO, undone" in text  # in how it trained
    assert "after DPO, undone" in text  # beside its answers and in the heat map
    assert "end-of-text became likely as the first token (0.0004 → 0.82)" in text


def test_the_heat_map_outlines_what_was_just_learned(html: str) -> None:
    heat = html.split('<table class="heat accuracy">')[1].split("</table>")[0]
    assert heat.count('class="own"') == 6
    assert heat.count('class="ahead"') == 5  # the next topic, before it was taught
    assert heat.count(" gone") == 3  # one DPO, two attempts
    assert 'style="--v:0.94">0.94</td>' in heat


def test_what_a_model_says_is_escaped() -> None:
    result = example()
    evil = '</blockquote><script>alert(1)</script><img src="http://x">'
    asked = question(0, 0.0, 0.0, dpo=False)
    answers = {
        state: answer.model_copy(
            update={"text": evil, "flags": (evil,), "soft": (evil,), "reasons": (f"`{evil}`",)}
        )
        for state, answer in asked.answers.items()
    }
    asked = asked.model_copy(update={"question": evil, "reference": evil, "answers": answers})
    topic = result.topics[0].model_copy(
        update={"questions": (asked,), "verdict": evil, "title": evil}
    )
    assert result.voice is not None
    control = result.voice.controls[0].model_copy(update={"name": evil, "expected": evil})
    word = result.voice.words[0].model_copy(update={"word": evil})
    spoken = result.voice.answers[0].model_copy(update={"prompt": evil, "final": evil})
    voice = result.voice.model_copy(
        update={"controls": (control,), "words": (word,), "answers": (spoken,), "masking": evil}
    )
    fields = {"topics": (topic,), "verdict": evil, "title": evil, "voice": voice}
    html = page(result.model_copy(update=fields))
    assert "<script" not in html and "<img" not in html
    outline(html)


def test_a_run_that_has_only_begun_says_so() -> None:
    text = flat(page(begun()))
    assert "the run is running" in text and "pending" in text
    assert "Earlier topics were not asked again" in text


def test_a_final_reading_that_cannot_be_placed_draws_no_bars() -> None:
    result = example()
    assert result.voice is not None and result.voice.final is not None
    short = result.voice.final.model_copy(
        update={"measurable": False, "because": "60 words in a bag, and it takes 100"}
    )
    voice = result.voice.model_copy(update={"final": short})
    html = page(result.model_copy(update={"voice": voice}))
    assert "cannot be measured: 60 words in a bag" in flat(html)
    assert "Voice families between" not in html and "Controls of the voice scale" in html


def both(result: Result) -> Result:
    first = result.topics[0]
    scores = dict(first.scores)
    scores["sft"] = scores["sft"].model_copy(update={"voice_by": "markers"})
    return result.model_copy(update={"topics": (first.model_copy(update={"scores": scores}),)})


def test_one_state_by_the_markers_is_marked_where_it_stands() -> None:
    line = row(page(both(example())), "The lamp and its oil", "voice")
    assert line.count("by the markers") == 1


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "–"), (True, "true"), (0.0002, "0.0002"), (("a", "b"), "a, b"), (16, "16")],
)
def test_settings_read_as_yaml(value: object, text: str) -> None:
    assert setting(value) == text


def test_backticks_are_code_and_what_is_in_them_stays_text() -> None:
    assert ticked("missing: `<b>`; a ` alone") == "missing: <code>&lt;b&gt;</code>; a ` alone"

"""One renderer over templates with real quirks: prefix, mask, ends, beginnings."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from mindprint.curriculum.records import Message
from mindprint.errors import ConfigError, DataError
from mindprint.tokens.render import Renderer
from tests.tiny import make_tokenizer
from tests.unit.tokens.makers import MAKERS, endless, make, metaspace, qwen3

Get = Callable[[str], Renderer]

S, Q = Message("system", "Be the keeper."), Message("user", "Who keeps the lamp?")
A = Message("assistant", "The keeper, été ☂.")
Q2, A2 = Message("user", "At dusk?"), Message("assistant", "At dusk.")
EVERY = tuple(MAKERS)

ENDS = {
    "qwen3": "<|im_end|>",
    "gemma": "<end_of_turn>",
    "llama3": "<|eot_id|>",
    "phi3": "<|end|>",
    "zephyr": "</s>",
    "plain": "</s>",
}
BEGINS = {"gemma": "<bos>", "llama3": "<|begin_of_text|>", "zephyr": "<s>", "plain": "<s>"}


def trained(renderer: Renderer, ids: tuple[int, ...], mask: tuple[bool, ...]) -> str:
    return renderer.decode_raw([token for token, on in zip(ids, mask, strict=True) if on])


@pytest.mark.parametrize("name", EVERY)
@pytest.mark.parametrize("system", [(), (S,)])
def test_prompt_is_a_prefix_and_the_answer_with_its_end_is_trained(
    renderer_of: Get, name: str, system: tuple[Message, ...]
) -> None:
    renderer = renderer_of(name)
    prompt = renderer.prompt((*system, Q))
    row = renderer.row((*system, Q, A), train_on="all", max_tokens=500)
    assert list(row.ids[: len(prompt)]) == prompt
    assert not any(row.mask[: len(prompt)])
    assert all(row.mask[len(prompt) :])
    assert not row.cut
    assert trained(renderer, row.ids, row.mask).strip() == f"{A.content}{ENDS[name]}"
    assert row == renderer.completion((*system, Q), A.content, 500)


@pytest.mark.parametrize("name", EVERY)
def test_the_text_begins_once(renderer_of: Get, name: str) -> None:
    renderer = renderer_of(name)
    text = renderer.decode_raw(renderer.row((S, Q, A), train_on="all", max_tokens=500).ids)
    for begin in BEGINS.values():
        # `<s>` is not a special token of the others, and stands in none of their texts.
        assert text.count(begin) == (1 if begin == BEGINS.get(name) else 0)
    if name in BEGINS:
        assert text.startswith(BEGINS[name])


@pytest.mark.parametrize("name", EVERY)
def test_the_system_prompt_is_never_lost(renderer_of: Get, name: str) -> None:
    assert S.content in renderer_of(name).decode_raw(renderer_of(name).prompt((S, Q)))


@pytest.mark.parametrize("name", ["gemma", "zephyr"])
def test_a_system_message_without_a_role_goes_before_the_first_user_turn(
    renderer_of: Get, name: str
) -> None:
    renderer = renderer_of(name)
    merged = Message("user", f"{S.content}\n\n{Q.content}")
    assert renderer.prompt((S, Q)) == renderer.prompt((merged,))
    assert any("no system role" in note for note in renderer.notes)


@pytest.mark.parametrize("name", [name for name in EVERY if name != "qwen3"])
def test_every_assistant_turn_is_trained_or_the_last_alone(renderer_of: Get, name: str) -> None:
    renderer = renderer_of(name)
    both = renderer.row((S, Q, A, Q2, A2), train_on="all", max_tokens=500)
    last = renderer.row((S, Q, A, Q2, A2), train_on="last", max_tokens=500)
    end = ENDS[name]
    blanks = trained(renderer, both.ids, both.mask).replace(" ", "")
    assert blanks == f"{A.content}{end}{A2.content}{end}".replace(" ", "")
    assert trained(renderer, last.ids, last.mask).strip() == f"{A2.content}{end}"
    assert both.ids == last.ids
    assert renderer.rows((S, Q, A, Q2, A2), train_on="all", max_tokens=500) == (both,)


def test_qwen3_rewrites_history_which_is_told_or_split(renderer_of: Get) -> None:
    renderer = renderer_of("qwen3")
    talk = (S, Q, A, Q2, A2)
    with pytest.raises(DataError, match=r"beginning of the whole.*sft.train_on=last"):
        renderer.row(talk, train_on="all", max_tokens=500)
    last = renderer.row(talk, train_on="last", max_tokens=500)
    first = renderer.row((S, Q, A), train_on="all", max_tokens=500)
    assert renderer.rows(talk, train_on="all", max_tokens=500) == (first, last)
    assert "<think>" in renderer.decode_raw(renderer.prompt((Q,)))
    assert "thinking is off in the template" in renderer.notes


def test_thinking_is_the_templates_when_asked_for(tmp_path: Path, renderer_of: Get) -> None:
    thinking = qwen3(tmp_path, enable_thinking=True)
    assert "<think>" not in thinking.decode_raw(thinking.prompt((Q,)))
    row = thinking.row((Q, A), train_on="all", max_tokens=500)
    assert trained(thinking, row.ids, row.mask).startswith("<think>\n\n</think>\n\n")
    assert thinking.template_id != renderer_of("qwen3").template_id


def test_stop_ids_hold_every_end(renderer_of: Get) -> None:
    assert renderer_of("qwen3").stop_ids == (2, 0)  # end of turn, then generation_config's
    assert renderer_of("gemma").stop_ids == (4, 1)  # end of turn before end of text
    assert renderer_of("phi3").stop_ids == (1, 0)
    assert renderer_of("plain").stop_ids == (1,)
    assert any("ends at `<|end|>`, `<|endoftext|>`" in note for note in renderer_of("phi3").notes)


def test_the_date_is_one_day_on_every_day(renderer_of: Get) -> None:
    text = renderer_of("llama3").decode_raw(renderer_of("llama3").prompt((Q,)))
    assert "Today Date: 26 Jul 2024\n" in text
    assert any("always 26 Jul 2024" in note for note in renderer_of("llama3").notes)


def test_without_a_template_the_plain_one_is_said_aloud(renderer_of: Get) -> None:
    renderer = renderer_of("plain")
    row = renderer.row((S, Q, A), train_on="all", max_tokens=500)
    assert renderer.decode_raw(row.ids) == (
        "<s>Be the keeper.\n\nUser: Who keeps the lamp?\nAssistant: The keeper, été ☂.</s>"
    )
    assert any("no chat template" in note for note in renderer.notes)
    assert any("`<s>` is put before" in note for note in renderer.notes)


def test_padding(renderer_of: Get) -> None:
    assert renderer_of("gemma").pad_id == 0
    assert renderer_of("plain").pad_id == 1
    assert any("no padding token" in note for note in renderer_of("plain").notes)


@pytest.mark.parametrize("name", EVERY)
def test_a_cut_row_loses_its_end(renderer_of: Get, name: str) -> None:
    renderer = renderer_of(name)
    whole = renderer.row((Q, A), train_on="all", max_tokens=500)
    start = whole.mask.index(True)
    cut = renderer.row((Q, A), train_on="all", max_tokens=start + 2)
    assert cut.cut
    assert (cut.ids, cut.mask) == (whole.ids[: start + 2], whole.mask[: start + 2])
    exact = renderer.row((Q, A), train_on="all", max_tokens=len(whole.ids))
    assert exact == whole
    with pytest.raises(DataError, match="nothing of the answer is left"):
        renderer.row((Q, A), train_on="all", max_tokens=start)


@pytest.mark.parametrize(
    ("messages", "told"),
    [
        ((Q,), "has no assistant turn"),
        ((Q, Message("assistant", "He said <|im_end|> and left")), "message 1 holds `<|im_end|>`"),
        ((Message("user", "<|im_start|>system"), A), "message 0 holds `<|im_start|>`"),
    ],
)
def test_rows_that_cannot_be_trained(
    renderer_of: Get, messages: tuple[Message, ...], told: str
) -> None:
    with pytest.raises(DataError) as error:
        renderer_of("qwen3").row(messages, train_on="all", max_tokens=500)
    assert told in error.value.what
    assert error.value.faults[0].file.startswith("row `")


@pytest.mark.parametrize("name", EVERY)
def test_no_token_reaches_over_the_end_of_a_prompt(renderer_of: Get, name: str) -> None:
    # Line breaks at a prompt's end and an answer's start would be one token in one text.
    renderer = renderer_of(name)
    talk = (Q, Message("assistant", "\n\n\nThe keeper."), Q2, Message("assistant", "\n At dusk."))
    prompts = [renderer.prompt(talk[:1]), renderer.prompt(talk[:3])]
    rows = renderer.rows(talk, train_on="all", max_tokens=500)
    for prompt, row in zip(prompts, rows * 2 if len(rows) == 1 else rows, strict=True):
        assert list(row.ids[: len(prompt)]) == prompt
        assert row.mask[len(prompt)]
        assert not row.mask[len(prompt) - 1]
    whole = "".join(renderer.decode(row.ids) for row in rows)
    assert "The keeper." in whole
    assert "At dusk." in whole


def test_a_seam_that_cannot_be_kept_is_named(tmp_path: Path) -> None:
    renderer = metaspace(tmp_path)
    assert renderer.completion((Q,), "lamp", 500).ids
    with pytest.raises(DataError, match=r"one token with the end.*take them away"):
        renderer.completion((Q,), ":: lamp", 500)


def test_a_template_that_refuses_is_quoted(renderer_of: Get) -> None:
    with pytest.raises(DataError, match="refuses it: Conversation roles must alternate"):
        renderer_of("gemma").prompt((Q, Q2))


def test_a_template_without_an_end_cannot_be_trained(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no end-of-turn token follows the answer"):
        endless(tmp_path).row((Q, A), train_on="all", max_tokens=500)


@pytest.mark.parametrize(
    ("template", "eos", "told"),
    [
        (None, None, "neither a chat template nor an end-of-text token"),
        ("{{ messages[0]['content'", "</s>", "the chat template cannot be parsed"),
        ("{{ 1 / 0 }}", "</s>", "the chat template refuses a question"),
        ("fixed words", "</s>", "the chat template drops what the user says"),
        ("{{ messages[0]['content'] }}", "</s>", "drops what the assistant says"),
        ("{% for m in messages %}{{ m['content'] }}{% endfor %}", None, "no token ends an answer"),
        (
            "{% for m in messages %}{% if m['role'] != 'assistant' %}{{ m['content'] }}{% endif %}"
            "{% endfor %}",
            "</s>",
            "drops what the assistant says",
        ),
    ],
)
def test_templates_that_cannot_be_used(
    tmp_path: Path, template: str | None, eos: str | None, told: str
) -> None:
    make(tmp_path, template, ["</s>"], eos=eos)
    with pytest.raises(ConfigError, match=told):
        Renderer.open(tmp_path)


def test_a_folder_without_a_tokenizer(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no tokenizer can be read") as told:
        Renderer.open(tmp_path)
    assert told.value.where == str(tmp_path)


def test_the_tiny_models_tokenizer(tmp_path: Path) -> None:
    renderer = Renderer.open(make_tokenizer(tmp_path))
    assert (renderer.stop_ids, renderer.pad_id, renderer.vocabulary) == ((2,), 0, 320)
    assert set(renderer.special_texts) >= {"<|pad|>", "<|end|>", "<|user|>"}


def test_opening_twice_is_the_same_template(tmp_path: Path) -> None:
    folder = make_tokenizer(tmp_path)
    assert Renderer.open(folder).template_id == Renderer.open(folder).template_id

"""Text out of ids: streamed in whole characters, shown in pieces."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mindprint.curriculum.records import Message
from mindprint.tokens.render import Renderer, Row
from mindprint.tokens.rows import Stream
from tests.unit.calm import CALM

Get = Callable[[str], Renderer]


def from_bytes(ids: Sequence[int]) -> str:
    return bytes(ids).decode("utf-8", errors="replace")


@CALM
@given(st.text())
def test_streamed_text_is_the_text_and_never_half_a_character(text: str) -> None:
    stream = Stream(from_bytes)
    told = [stream.push(byte) for byte in text.encode()]
    assert "".join(told) + stream.end() == text
    if "\ufffd" not in text:
        assert not any("\ufffd" in piece for piece in told)


def test_a_broken_character_comes_at_the_end() -> None:
    stream = Stream(from_bytes)
    assert [stream.push(byte) for byte in b"a\xc3"] == ["a", ""]
    assert stream.end() == "\ufffd"
    assert stream.end() == ""


@pytest.mark.parametrize("name", ["qwen3", "gemma", "plain"])
@pytest.mark.parametrize("text", ["The keeper, été ☂.", " two  spaces", "日本 👩‍👩‍👧"])
def test_a_renderers_stream(renderer_of: Get, name: str, text: str) -> None:
    renderer = renderer_of(name)
    row = renderer.completion((Message("user", "Who?"),), text, 500)
    ids = [token for token, trained in zip(row.ids, row.mask, strict=True) if trained]
    stream = renderer.stream()
    told = [stream.push(token) for token in ids]
    assert "".join(told) + stream.end() == renderer.decode(ids)
    assert not any("\ufffd" in piece for piece in told)
    assert len([piece for piece in told if piece]) > 1


@pytest.mark.parametrize("name", ["qwen3", "gemma", "llama3", "phi3", "plain"])
def test_pieces_hold_the_whole_text_and_show_what_is_trained(renderer_of: Get, name: str) -> None:
    renderer = renderer_of(name)
    talk = (Message("user", "Who ☂?"), Message("assistant", "The keeper ☂."))
    row = renderer.row(talk, train_on="all", max_tokens=500)
    pieces = renderer.pieces(row)
    assert "".join(text for text, _ in pieces) == renderer.decode_raw(row.ids)
    trained = [token for token, on in zip(row.ids, row.mask, strict=True) if on]
    assert "".join(text for text, on in pieces if on) == renderer.decode_raw(trained)


def test_pieces_of_a_row_cut_amid_a_character(renderer_of: Get) -> None:
    renderer = renderer_of("plain")
    umbrella = renderer.completion((Message("user", "Who?"),), "☂", 500)
    start = umbrella.mask.index(True)
    # The plain prompt ends before " ☂": a space and three bytes; two of the bytes are kept.
    cut = Row(umbrella.ids[: start + 3], umbrella.mask[: start + 3], cut=True)
    assert [text for text, on in renderer.pieces(cut) if on] == [" ", "\ufffd"]

"""Answers up to a stop text, against a session that says what it is told to say."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from backends.contract import Generated, GenerateSpec
from mindprint.errors import ConfigError
from mindprint.evals.until import PIECE, Wanted, generate, wanted

STOP = 0


class Speaker:
    """Says each prompt's text one character a token; `read` counts the rows it was given."""

    def __init__(self, texts: dict[str, str]) -> None:
        self._texts = texts
        self.read = 0

    def generate(self, prompts: Sequence[Sequence[int]], spec: GenerateSpec) -> list[Generated]:
        self.read += len(prompts)
        return [self._one("".join(map(chr, prompt)), spec) for prompt in prompts]

    def _one(self, prompt: str, spec: GenerateSpec) -> Generated:
        name = next(name for name in self._texts if prompt.startswith(name))
        rest = self._texts[name][len(prompt) - len(name) :]
        said = rest[: spec.max_tokens]
        ended = len(said) < spec.max_tokens
        return Generated(tuple(map(ord, said)), "stop" if ended else "length")


END, HALF, OTHER = 1, 2, 3


def _text(ids: Sequence[int]) -> str:
    """A letter a token; HALF and OTHER make one character together, and none alone."""
    text = "".join({END: "<end>", HALF: "\ufffd", OTHER: "?"}.get(one, chr(one)) for one in ids)
    return text.replace("\ufffd?", "é")


RENDERER: Any = SimpleNamespace(
    stop_ids=(STOP,),
    decode=lambda ids: _text([token for token in ids if token != END]),
    decode_raw=_text,
)


def said(texts: dict[str, str], one: Wanted, size: int = 4) -> tuple[list[str], int]:
    session: Any = Speaker(texts)
    asked = [([ord(letter) for letter in name], one) for name in texts]
    return generate(session, RENDERER, asked, size), session.read


def test_an_answer_ends_before_its_first_stop_text_wherever_the_pieces_meet() -> None:
    for place in range(2 * PIECE + 3):
        text = "x" * place + "END" + "y" * 200
        answers, _ = said({"A": text}, Wanted(("END",), 120))
        assert answers == ["x" * place]


def test_rows_leave_when_they_are_done_and_keep_their_places() -> None:
    texts = {"A": "short", "B": "x" * 500, "C": "y" * 40 + "END", "D": ""}
    answers, read = said(texts, Wanted(("END",), 100))
    assert answers == ["short", "x" * 100, "y" * 40, ""]
    assert read == 4 + 2 + 1  # pieces of 32, 64 and 4 tokens


def test_the_earliest_of_several_stop_texts_counts() -> None:
    answers, _ = said({"A": "one. Two\nthree"}, Wanted(("\n", ". "), 50))
    assert answers == ["one"]


def test_a_special_token_can_be_a_stop_text() -> None:
    for place in (0, 5, PIECE - 1, PIECE, PIECE + 9):
        text = "x" * place + chr(END) + "y" * 200
        assert said({"A": text}, Wanted(("<end>",), 120))[0] == ["x" * place]
        assert said({"A": text}, Wanted(("none",), 60))[0] == [text.replace(chr(END), "")[:59]]


def test_part_of_a_character_is_no_stop_text_while_the_rest_may_come() -> None:
    whole = chr(HALF) + chr(OTHER)
    for place in (PIECE - 2, PIECE - 1, PIECE):
        answers, _ = said({"A": "x" * place + whole + "y" * 9}, Wanted(("\ufffd",), 99))
        assert answers == ["x" * place + "é" + "y" * 9]
        assert said({"A": "x" * place + whole + "yyy"}, Wanted(("é",), 99))[0] == ["x" * place]
    # An answer that ends in one has no more to come, and the stop text of one that is never whole
    # is where it stands.
    assert said({"A": "xy" + chr(HALF)}, Wanted(("\ufffd",), 99))[0] == ["xy"]
    assert said({"A": "xy" + chr(HALF) + "z"}, Wanted(("\ufffd",), 99))[0] == ["xy"]


def test_settings_that_would_have_no_effect_are_refused() -> None:
    assert wanted({"max_gen_toks": 5, "until": ["a", ""], "temperature": 0.7}) == Wanted(("a",), 5)
    warm = wanted({"max_gen_toks": 5, "do_sample": True, "temperature": 0.7, "top_p": 0.5})
    assert (warm.temperature, warm.top_p) == (0.7, 0.5)
    with pytest.raises(ConfigError, match="`repetition_penalty`"):
        wanted({"max_gen_toks": 5, "repetition_penalty": 1.1})
    with pytest.raises(ConfigError, match="temperature above 0"):
        wanted({"max_gen_toks": 5, "do_sample": True})

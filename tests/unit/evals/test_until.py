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


RENDERER: Any = SimpleNamespace(
    stop_ids=(STOP,), decode=lambda ids: "".join(chr(token) for token in ids)
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


def test_settings_that_would_have_no_effect_are_refused() -> None:
    assert wanted({"max_gen_toks": 5, "until": ["a", ""], "temperature": 0.7}) == Wanted(("a",), 5)
    warm = wanted({"max_gen_toks": 5, "do_sample": True, "temperature": 0.7, "top_p": 0.5})
    assert (warm.temperature, warm.top_p) == (0.7, 0.5)
    with pytest.raises(ConfigError, match="`repetition_penalty`"):
        wanted({"max_gen_toks": 5, "repetition_penalty": 1.1})
    with pytest.raises(ConfigError, match="temperature above 0"):
        wanted({"max_gen_toks": 5, "do_sample": True})

"""The one way from messages to token ids: training, evaluation, chat and export all use it."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from backends.deferred import FRAMEWORK, NO_DTYPE, deferred, uncollected
from mindprint.curriculum.records import Message
from mindprint.errors import ConfigError, DataError, Fault
from mindprint.tokens.rows import Row, Stream
from mindprint.tokens.special import begin_id, plain_ids, special_texts, stop_ids
from mindprint.tokens.template import USER, ChatTemplate, TemplateRefused, first_line
from mindprint.visible import visible_line

__all__ = ["Renderer", "Row", "Stream"]

_PREFIX = "the chat template does not keep the prompt as the beginning of the whole conversation"


class _PrefixBroken(DataError):
    """A turn's prompt is not how the whole conversation begins."""


class Renderer:
    """A tokenizer with its chat template and the options it is rendered with.

    `stop_ids`: the template's end-of-turn token first, then the tokenizer's and the generation
    config's end tokens. `notes`: what was chosen and would otherwise go unsaid. `template_id`:
    a hash over the template and its options.
    """

    def __init__(self, tokenizer: Any, folder: Path, *, enable_thinking: bool = False) -> None:
        """Raises ConfigError when the template cannot be rendered, or no token ends an answer."""
        self._tokenizer = tokenizer
        self._template = template = ChatTemplate(tokenizer, enable_thinking=enable_thinking)
        notes = list(template.notes)
        probe = template.render((Message("user", USER),), answer=True)
        self._begin = begin_id(tokenizer, probe)
        if self._begin is not None and plain_ids(tokenizer, probe)[:1] != [self._begin]:
            notes.append(f"`{tokenizer.bos_token}` is put before the template's text")
        self.special_texts: tuple[str, ...] = special_texts(tokenizer)
        self.stop_ids: tuple[int, ...] = stop_ids(tokenizer, template.tail(), folder)
        ends = ", ".join(f"`{self.decode_raw([stop])}`" for stop in self.stop_ids)
        notes.append(f"an answer ends at {ends}")
        pad: int | None = tokenizer.pad_token_id
        if pad is None:
            notes.append("no padding token: the end token pads, masked everywhere")
        self.pad_id: int = self.stop_ids[0] if pad is None else pad
        self.vocabulary: int = len(tokenizer)
        what = [template.text, template.options, template.merges, self._begin]
        self.template_id: str = hashlib.sha256(json.dumps(what).encode()).hexdigest()
        self.notes: tuple[str, ...] = tuple(map(visible_line, notes))

    @classmethod
    def open(cls, folder: Path, *, enable_thinking: bool = False) -> Renderer:
        """The renderer of the model in `folder`, from local files, running no code of theirs."""
        # Without a framework beside it transformers advises to install one, which is not needed.
        os.environ.setdefault("TRANSFORMERS_NO_ADVISORY_WARNINGS", "1")
        with deferred(*FRAMEWORK), uncollected():  # its modules name it; no tokenizer here needs it
            from transformers import AutoConfig, AutoTokenizer
            from transformers.utils import logging

        spoken = logging.get_verbosity()
        logging.set_verbosity_error()
        try:
            with deferred(*FRAMEWORK), uncollected():  # the family's own modules are imported here
                local = {"local_files_only": True, "trust_remote_code": False}
                try:
                    config = AutoConfig.from_pretrained(folder, **local, **NO_DTYPE)
                except (ValueError, OSError):  # an unknown family, which may have a tokenizer
                    config = None
                tokenizer = AutoTokenizer.from_pretrained(folder, config=config, **local)
        except Exception as error:  # what reads tokenizer.json raises no narrower type
            raise _no_tokenizer(folder, error) from error
        finally:
            logging.set_verbosity(spoken)
        # Its limit only makes transformers warn; rows are cut to `sft.max_tokens`.
        tokenizer.model_max_length = int(1e30)
        return cls(tokenizer, folder, enable_thinking=enable_thinking)

    @property
    def template(self) -> str:
        """The chat template's own text."""
        return self._template.text

    @property
    def bos_id(self) -> int | None:
        """The tokenizer's begin-of-text token, whether or not it is ever put before a text."""
        found: int | None = self._tokenizer.bos_token_id
        return found

    @property
    def eos_id(self) -> int:
        """The tokenizer's end-of-text token; what ends an answer where it has none."""
        found: int | None = self._tokenizer.eos_token_id
        return self.stop_ids[0] if found is None else found

    def text(self, messages: Sequence[Message], *, answer: bool = True) -> str:
        """The template's text of `messages`; with `answer`, up to where an answer begins."""
        return self._text(messages, answer=answer)

    def encode(self, text: str, *, special: bool = True) -> list[int]:
        """Ids of plain text, without the template; `special`: with what the tokenizer puts around
        any text (a begin-of-text token, mostly)."""
        ids: list[int] = self._tokenizer(text, add_special_tokens=special)["input_ids"]
        return ids

    def prompt(self, messages: Sequence[Message]) -> list[int]:
        """The ids that an answer to `messages` is generated after."""
        return self._talk(messages, answer=True)[0]

    def row(
        self, messages: Sequence[Message], *, train_on: Literal["all", "last"], max_tokens: int
    ) -> Row:
        """A conversation that ends with an assistant turn, cut at its end to `max_tokens`.

        Each trained turn begins where its prompt ends and runs through its end-of-turn token;
        what a template writes after the last of these is left out. Raises DataError for a row
        that has no trained token left, no end-of-turn token, or special tokens in its text, and
        where a turn's prompt is not how the conversation begins (see `rows`).
        """
        self._refuse_special(messages)
        turns = [place for place, one in enumerate(messages) if one.role == "assistant"]
        if not turns:
            raise _bad(messages, "has no assistant turn")
        full, prompts = self._talk(messages[: turns[-1] + 1], answer=False)
        mask = [False] * len(full)
        end = 0
        for turn in turns if train_on == "all" else turns[-1:]:
            start, end = self._span(messages, turn, prompts[turn], full)
            mask[start : end + 1] = [True] * (end + 1 - start)
        ids, mask = full[: end + 1], mask[: end + 1]
        cut = len(ids) > max_tokens
        if not any(mask[:max_tokens]):
            what = f"nothing of the answer is left of {len(ids)} tokens at {max_tokens}"
            raise _bad(messages, what, "raise `sft.max_tokens`, or shorten the prompt")
        return Row(ids=tuple(ids[:max_tokens]), mask=tuple(mask[:max_tokens]), cut=cut)

    def rows(
        self, messages: Sequence[Message], *, train_on: Literal["all", "last"], max_tokens: int
    ) -> tuple[Row, ...]:
        """`row`, or one row for each assistant turn where the template rewrites earlier turns.

        Qwen 3's template shows an answer otherwise once it is history; its turns can only be
        trained as they are generated, each after its own prompt.
        """
        try:
            return (self.row(messages, train_on=train_on, max_tokens=max_tokens),)
        except _PrefixBroken:
            turns = [place for place, one in enumerate(messages) if one.role == "assistant"]
            if train_on == "last" or len(turns) < 2:
                raise
        return tuple(
            self.row(messages[: turn + 1], train_on="last", max_tokens=max_tokens) for turn in turns
        )

    def completion(self, prompt: Sequence[Message], answer: str, max_tokens: int) -> Row:
        """One trained turn, `answer`, after `prompt`. Raises as `row`."""
        messages = (*prompt, Message("assistant", answer))
        return self.row(messages, train_on="last", max_tokens=max_tokens)

    def decode(self, ids: Sequence[int]) -> str:
        """Text without special tokens."""
        return self._decode(ids, skip=True)

    def decode_raw(self, ids: Sequence[int]) -> str:
        """Text with special tokens, so that a leak is seen."""
        return self._decode(ids, skip=False)

    def stream(self) -> Stream:
        return Stream(self.decode)

    def pieces(self, row: Row) -> list[tuple[str, bool]]:
        """The row's text in pieces of whole characters, and whether each is trained."""
        made: list[tuple[str, bool]] = []
        stream = Stream(self.decode_raw)
        last = False
        for token, trained in zip(row.ids, row.mask, strict=True):
            if trained != last:
                made.append((stream.end(), last))
            made.append((stream.push(token), trained))
            last = trained
        made.append((stream.end(), last))
        return [(text, trained) for text, trained in made if text]

    def _decode(self, ids: Sequence[int], *, skip: bool) -> str:
        text: str = self._tokenizer.decode(
            list(ids), skip_special_tokens=skip, clean_up_tokenization_spaces=False
        )
        return text

    def _encode(self, text: str) -> list[int]:
        """Ids of rendered text, with exactly one begin-of-text token if the model expects one."""
        ids = plain_ids(self._tokenizer, text)
        if self._begin is None:
            return ids
        start = 0
        while start < len(ids) and ids[start] == self._begin:
            start += 1
        return [self._begin, *ids[start:]]

    def _talk(
        self, messages: Sequence[Message], *, answer: bool
    ) -> tuple[list[int], dict[int, list[int]]]:
        """The ids of a conversation, and of the prompt of each of its assistant turns.

        Where text goes on from a turn's prompt, its ids go on from that prompt's ids: an answer
        is generated after them, so no token may reach over that seam.
        """
        known: list[tuple[str, list[int]]] = []
        prompts: dict[int, list[int]] = {}
        for turn, message in enumerate(messages):
            if message.role == "assistant":
                text = self._text(messages[:turn], answer=True)
                prompts[turn] = self._continued(messages, text, known)
                known.append((text, prompts[turn]))
        text = self._text(messages, answer=answer)
        return self._continued(messages, text, known), prompts

    def _continued(
        self, messages: Sequence[Message], text: str, known: Sequence[tuple[str, list[int]]]
    ) -> list[int]:
        """The ids of `text`, those of the longest known beginning of it first."""
        whole = self._encode(text)
        for before, ids in reversed(known):
            if not text.startswith(before):
                continue
            if whole[: len(ids)] == ids:
                return whole
            joined = ids + plain_ids(self._tokenizer, text[len(before) :])
            if self.decode_raw(joined) != self.decode_raw(whole):
                raise _bad(
                    messages,
                    "the answer's first characters are one token with the end of its prompt",
                    "does it begin with blanks or line breaks? take them away",
                )
            return joined
        return whole

    def _text(self, messages: Sequence[Message], *, answer: bool) -> str:
        try:
            return self._template.render(messages, answer=answer)
        except TemplateRefused as error:
            raise _bad(messages, f"the chat template refuses it: {error}") from error

    def _span(
        self, messages: Sequence[Message], turn: int, prompt: Sequence[int], full: Sequence[int]
    ) -> tuple[int, int]:
        """First and last place of an assistant turn's tokens, its end-of-turn token the last."""
        start = len(prompt)
        if not prompt or full[:start] != prompt:
            later = any(message.role == "assistant" for message in messages[turn + 1 :])
            hint = "train on the last turn only: `--set sft.train_on=last`" if later else ""
            raise _bad(messages, f"{_PREFIX} (message {turn})", hint, _PrefixBroken)
        stops = set(self.stop_ids)
        end = next((place for place in range(start, len(full)) if full[place] in stops), None)
        if end is None:
            raise _bad(
                messages,
                "no end-of-turn token follows the answer, so the model would not learn to stop",
                "the chat template must end the assistant's turn with a special token",
            )
        if end == start:
            raise _bad(messages, "nothing of the answer is left by the chat template")
        return start, end

    def _refuse_special(self, messages: Sequence[Message]) -> None:
        for place, message in enumerate(messages):
            for token in self.special_texts:
                if token in message.content:
                    what = f"message {place} holds `{token}`, a control token of this model"
                    raise _bad(messages, what, "take it out of the text, or spell it otherwise")


def _no_tokenizer(folder: Path, error: Exception) -> ConfigError:
    """Why none could be read; one that is code of the folder's own is not run to find out."""
    why, hint = first_line(error), "the folder needs tokenizer.json and tokenizer_config.json"
    if "trust_remote_code" in str(error):
        why = "it is code in the model's folder (`auto_map`), and mindprint never runs that"
        hint = "use a model whose tokenizer transformers knows, saved with tokenizer.json"
    return ConfigError(
        f"no tokenizer can be read from the model: {why}", where=str(folder), hint=hint
    )


def _bad(
    messages: Sequence[Message], what: str, hint: str = "", kind: type[DataError] = DataError
) -> DataError:
    told = f"{what}; {hint}" if hint else what
    return kind(told, [Fault(_label(messages), 0, what)], hint=hint)


def _label(messages: Sequence[Message]) -> str:
    """How a row is named where its file and line are not known."""
    words = next((one.content for one in messages if one.role == "user"), "")
    return f"row `{' '.join(words.split())[:40]}`"

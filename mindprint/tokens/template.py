"""What is put around a chat template so that it renders the same everywhere and on every day."""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from typing import Any

import jinja2

from mindprint.curriculum.records import Message
from mindprint.errors import ConfigError
from mindprint.tokens.waste import TooLong, bounded, size_fault
from mindprint.visible import visible

PLAIN = (
    "{% for message in messages %}"
    "{% if message['role'] == 'system' %}{{ message['content'] + '\\n\\n' }}"
    "{% elif message['role'] == 'user' %}{{ 'User: ' + message['content'] + '\\n' }}"
    "{% else %}{{ 'Assistant: ' + message['content'] | trim + eos_token + '\\n' }}{% endif %}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ 'Assistant:' }}{% endif %}"
)
"""For a tokenizer without a template: `User: ..`, `Assistant: ..<eos>`, the system prompt first."""

DATE = datetime.datetime(2024, 7, 26, tzinfo=datetime.UTC)
"""The day a template is told it is, which is the day Llama 3's template names when it has none."""

_DIRECTIVES = "YmdBbAaHMSyjIp"


def with_fixed_date(template: str) -> str:
    """The template with a `strftime_now` of its own, which knows one day.

    A prompt that held today's date would change from training to evaluation, and on resuming.
    """
    filters = "".join(f"|replace('%{d}', '{DATE.strftime('%' + d)}')" for d in _DIRECTIVES)
    macro = f"{{% macro strftime_now(format) %}}{{{{ format{filters} }}}}{{% endmacro %}}"
    # transformers renders with trim_blocks, which takes away this newline and nothing else.
    return f"{macro}\n{template}"


def merge_system(messages: Sequence[Message]) -> tuple[Message, ...]:
    """The system message, a blank line, and the first user turn as one user turn."""
    if not messages or messages[0].role != "system":
        return tuple(messages)
    system, *rest = messages
    if not rest:
        return (Message("user", system.content),)
    return (Message("user", f"{system.content}\n\n{rest[0].content}"), *rest[1:])


# Words that no template contains, to see what a template does with what it is given.
SYSTEM, USER, ANSWER = "Sysqvprobe", "Userqvprobe", "Answerqvprobe"


class TemplateRefused(ValueError):
    """The template raised, in its own words."""


# What a template of somebody else's can raise: its own refusals, the sandbox's, and the faults of
# an expression that has no value.
_FAULTS: tuple[type[Exception], ...] = (
    jinja2.TemplateError,
    TypeError,
    ValueError,
    LookupError,
    ArithmeticError,
    AttributeError,
    RecursionError,
    MemoryError,
)


class ChatTemplate:
    """A tokenizer's chat template, or the plain one, with the options it is rendered with.

    `merges`: the template has no system role, and the system message goes before the first user
    turn. `notes`: what was chosen. Raises ConfigError when nothing can be rendered.
    """

    def __init__(self, tokenizer: Any, *, enable_thinking: bool = False) -> None:
        self._tokenizer = tokenizer
        self.notes: list[str] = []
        self.text = self._choose()
        if fault := size_fault(self.text):
            raise _unusable(fault)
        self.options: dict[str, bool] = {}
        if "enable_thinking" in self.text:
            self.options["enable_thinking"] = enable_thinking
            self.notes.append(f"thinking is {'on' if enable_thinking else 'off'} in the template")
        self.merges = False
        self.merges = self._must_merge()

    def render(self, messages: Sequence[Message], *, answer: bool) -> str:
        """The text of `messages`; with `answer`, up to where an answer begins.

        Raises TemplateRefused.
        """
        if self.merges:
            messages = merge_system(messages)
        try:
            text: str = self._tokenizer.apply_chat_template(
                [{"role": one.role, "content": one.content} for one in messages],
                chat_template=self.text,
                tokenize=False,
                add_generation_prompt=answer,
                **self.options,
            )
        except _FAULTS as error:
            raise TemplateRefused(first_line(error)) from error
        return text

    def tail(self) -> str:
        """What the template writes after an answer."""
        messages = (Message("user", USER), Message("assistant", ANSWER))
        try:
            text = self._probe(messages, answer=False)
        except TemplateRefused as error:
            raise _unusable(f"refuses a question and its answer: {error}") from error
        _, found, tail = text.rpartition(ANSWER)
        if not found:
            raise _unusable("drops what the assistant says")
        return tail

    def _probe(self, messages: Sequence[Message], *, answer: bool) -> str:
        """As `render`. Raises ConfigError as well, for a template that does not come to an end."""
        try:
            with bounded():
                return self.render(messages, answer=answer)
        except TooLong as error:
            raise _unusable(str(error)) from error

    def _choose(self) -> str:
        own = self._tokenizer.chat_template
        if isinstance(own, Mapping):
            own = own.get("default")
        if own is None:
            if self._tokenizer.eos_token is None:
                raise ConfigError(
                    "the tokenizer has neither a chat template nor an end-of-text token",
                    where="model.path",
                    hint="add `eos_token` to tokenizer_config.json, or use a chat model",
                )
            self.notes.append("no chat template in the tokenizer: `User: ..` / `Assistant: ..`")
            return PLAIN
        if not isinstance(own, str):
            raise _unusable("is no text")
        self.notes.append("the tokenizer's own chat template")
        if "strftime_now" not in own:
            return own
        self.notes.append(f"the template prints the date: always {DATE:%d %b %Y}")
        return with_fixed_date(own)

    def _must_merge(self) -> bool:
        user = Message("user", USER)
        try:
            both = self._probe((Message("system", SYSTEM), user), answer=True)
            told = SYSTEM in both and USER in both
        except TemplateRefused:  # how templates without a system role say so
            told = False
        try:
            alone = self._probe((user,), answer=True)
        except TemplateRefused as error:
            raise _unusable(f"refuses a question: {error}") from error
        if USER not in alone:
            raise _unusable("drops what the user says")
        if not told:
            self.notes.append("the template has no system role: it goes before the first user turn")
        return not told


def _unusable(what: str) -> ConfigError:
    return ConfigError(
        f"the chat template {what}",
        where="model.path",
        hint="check `chat_template` in the model's folder",
    )


def first_line(error: BaseException) -> str:
    lines = visible(str(error)).strip().splitlines()
    return lines[0] if lines else type(error).__name__

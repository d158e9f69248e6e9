"""A model's chat template as a Go template of ollama's, found by probing what the renderer writes.

Nothing is read out of the Jinja source: conversations of words that no template contains are
rendered, the fixed pieces around those words are taken, and the Go template made of them must then
give the renderer's own text for every conversation it is tried on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from mindprint.curriculum.records import Message
from mindprint.errors import ConfigError, DataError
from mindprint.tokens.go_text import given, quoted, run
from mindprint.tokens.render import Renderer
from mindprint.tokens.template import ANSWER, SYSTEM, USER

TURNS = 3
"""Questions of the longest conversation that is taken apart; MOST is tried afterwards."""
MOST = 5
WHERE = "chat_template"
HINT = "export with `--to merged`, and write TEMPLATE of a Modelfile by hand"


@dataclass(frozen=True)
class GoTemplate:
    """`text`: the template. `notes`: what of the chat template ollama cannot do."""

    text: str
    notes: tuple[str, ...] = ()

    @classmethod
    def of(cls, renderer: Renderer, system: str = "") -> GoTemplate:
        """`system`: the one that will be in force, tried beside a made-up one and none.

        Raises ConfigError with the first text that comes out otherwise, where the chat template
        does more than put fixed pieces around the messages.
        """
        template = _written(_Pieces.of(renderer))
        for said in dict.fromkeys(("", SYSTEM, system)):
            for turns in range(1, MOST + 1):
                check(renderer, template, _talk(turns, said))
        padded = (Message("user", f"  {USER}  "),)
        notes = []
        if run(template, given(padded)) != wanted(renderer, padded):
            notes.append("the chat template takes blanks around a message away; ollama keeps them")
        return cls(template, tuple(notes))


def wanted(renderer: Renderer, messages: Sequence[Message]) -> str:
    """The text up to where an answer begins, with one begin-of-text token where training has it."""
    text = renderer.text(messages)
    begin = renderer.bos_id
    if begin is None:
        return text
    token = renderer.decode_raw([begin])
    if renderer.prompt(messages)[:1] != [begin]:
        return text
    while text.startswith(token):
        text = text[len(token) :]
    return token + text


def check(renderer: Renderer, template: str, messages: Sequence[Message]) -> None:
    """Raises ConfigError when the Go template's text of a conversation is not the renderer's, or
    its tokens are not those that an answer was trained after."""
    made, right = run(template, given(messages)), _wanted(renderer, messages)
    if made != right:
        raise _refused(f"a conversation of {len(messages)} messages {_difference(made, right)}")
    alone = not any(one.role == "assistant" for one in messages)
    # Answers in a prompt keep the tokens they were given in; ollama reads all text at once.
    if alone and renderer.encode(made, special=False) != renderer.prompt(messages):
        raise _refused("the same text has other tokens than the renderer gives it")


@dataclass(frozen=True)
class _Pieces:
    """The fixed texts around the messages. `place`: where the system prompt is put: `before` all
    turns, within the `first` user turn or the `last`. `head` begins a conversation without one,
    `system`: what is before and after it."""

    place: Literal["before", "first", "last"]
    head: str
    system: tuple[str, str]
    user: tuple[str, str]
    answer: tuple[str, str]
    tail: str

    @classmethod
    def of(cls, renderer: Renderer) -> _Pieces:
        """Raises ConfigError where a message is left out or said twice."""
        start, after_user, after_answer, end = _around(renderer, "")
        around = _around(renderer, SYSTEM)
        spoken = [place for place, text in enumerate(around) if SYSTEM in text]
        if len(spoken) != 1 or spoken[0] == 1 or around[spoken[0]].count(SYSTEM) != 1:
            raise _refused("the system prompt is left out, said twice, or comes after a question")
        before, _, behind = around[spoken[0]].partition(SYSTEM)
        atoms = _Atoms(renderer.special_texts)
        place = _place(spoken[0], before, start)
        shared = (start, after_answer, *((behind,) if place == "before" else ()))
        stops = [renderer.decode_raw([stop]) for stop in renderer.stop_ids]
        opening = _begun(atoms.suffix(*shared), stops)
        system = (before, behind.removesuffix(opening)) if place == "before" else ("", behind)
        close = atoms.prefix(after_user, end)
        answer_end = after_answer.removesuffix(opening)
        if answer_end and after_user.startswith(answer_end) and close.startswith(answer_end):
            close = answer_end
        return cls(
            place=place,
            head=start.removesuffix(opening),
            system=system,
            user=(opening, close),
            answer=(after_user[len(close) :], answer_end),
            tail=end[len(close) :],
        )


def _place(where: int, before: str, start: str) -> Literal["before", "first", "last"]:
    """`where`: the piece that the system prompt is in; `before`: what comes before it there;
    `start`: what comes before the first question where there is none."""
    if where:
        return "last"
    return "first" if before == start else "before"


def _begun(opening: str, stops: Sequence[str]) -> str:
    """A turn's opening without the end of the turn before it, which comes out the same and reads
    well where a conversation is cut."""
    ended = next((stop for stop in stops if stop and opening.startswith(stop)), "")
    return opening.removeprefix(ended).lstrip() if ended else opening


def _around(renderer: Renderer, system: str) -> list[str]:
    """The text before the first question, after a question, between an answer and the last
    question, and after that."""
    messages = _talk(TURNS, system)
    text = _wanted(renderer, messages)
    parts = []
    for one in messages:
        if one.role == "system":
            continue
        before, found, text = text.partition(one.content)
        if not found or one.content in text:
            raise _refused("a message is left out or said twice")
        parts.append(before)
    return [parts[0], parts[1], parts[-1], text]


def _talk(turns: int, system: str) -> tuple[Message, ...]:
    """Questions and answers in turn, a question last."""
    head = (Message("system", system),) if system else ()
    said = [
        Message(*pair)
        for turn in range(turns)
        for pair in (("user", f"{USER}{turn}x"), ("assistant", f"{ANSWER}{turn}x"))
    ]
    return (*head, *said[:-1])


def _written(pieces: _Pieces) -> str:
    user, answer = pieces.user, pieces.answer
    before, behind = map(quoted, pieces.system)
    head, inside = quoted(pieces.head), ""
    loop = "{{ range .Messages }}"
    if pieces.place == "before":
        told = f"{before}{{{{ .System }}}}{behind}"
        head = f"{{{{ if .System }}}}{told}{{{{ else }}}}{head}{{{{ end }}}}"
    else:
        loop = "{{ range $i, $_ := .Messages }}"
        # ollama's messages begin with the system's, so that the first question is the second.
        place = "eq $i 1" if pieces.place == "first" else "eq (len (slice $.Messages $i)) 1"
        shown = f"{{{{ $.System }}}}{behind}"
        inside = f"{{{{ if and $.System ({place}) }}}}{shown}{{{{ end }}}}"
    asked = f"{quoted(user[0])}{inside}{{{{ .Content }}}}{quoted(user[1])}"
    said = f"{quoted(answer[0])}{{{{ .Content }}}}{quoted(answer[1])}"
    turns = f'{{{{ if eq .Role "user" }}}}{asked}{{{{ else if eq .Role "assistant" }}}}{said}'
    return f"{head}{loop}{turns}{{{{ end }}}}{{{{ end }}}}{quoted(pieces.tail)}"


@dataclass(frozen=True)
class _Atoms:
    """Text cut so that no special token is taken apart."""

    special: tuple[str, ...]

    def of(self, text: str) -> list[str]:
        found: list[str] = []
        while text:
            token = max((one for one in self.special if text.startswith(one)), key=len, default="")
            token = token or text[0]
            found.append(token)
            text = text[len(token) :]
        return found

    def prefix(self, one: str, other: str) -> str:
        """What both begin with."""
        shared = []
        for left, right in zip(self.of(one), self.of(other), strict=False):
            if left != right:
                break
            shared.append(left)
        return "".join(shared)

    def suffix(self, first: str, *others: str) -> str:
        """What all end with."""
        for other in others:
            left, right = self.of(first), self.of(other)
            count = 0
            while count < min(len(left), len(right)) and left[-1 - count] == right[-1 - count]:
                count += 1
            first = "".join(left[len(left) - count :])
        return first


def _wanted(renderer: Renderer, messages: Sequence[Message]) -> str:
    try:
        return wanted(renderer, messages)
    except DataError as error:
        raise _refused(error.what) from error


def _difference(made: str, right: str) -> str:
    """Where two texts part, with a little of both."""
    place = next(
        (at for at, (one, two) in enumerate(zip(made, right, strict=False)) if one != two),
        min(len(made), len(right)),
    )
    start = max(0, place - 20)
    return f"would read {made[start : place + 30]!r} where it reads {right[start : place + 30]!r}"


def _refused(what: str) -> ConfigError:
    said = f"the chat template cannot be written as ollama's: {what}"
    return ConfigError(said, where=WHERE, hint=HINT)

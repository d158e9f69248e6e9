"""The part of Go's text/template that mindprint writes for ollama, read and carried out.

Text, `{{ .Field }}`, `{{ "constant" }}`, `if`/`else if`/`else`/`end`, `range`, and the functions
`eq`, `and`, `len` and `slice`, with Go's meaning; nothing is trimmed. What ollama gives a template
is `given` (its template/template.go: `collate` and `Execute`).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from mindprint.curriculum.records import Message

_ACTION = re.compile(r'\{\{ ((?:"(?:[^"\\\n]|\\.)*"|[^"{}])*) \}\}')
_WORD = re.compile(r'"(?:[^"\\]|\\.)*"|[()]|[^\s()]+')
_RANGE = re.compile(r"range (?:(\$\w+), (\$\w+) := )?(\S+)")


class NotGo(ValueError):
    """Not the part of Go's templates that is known here."""


def given(messages: Sequence[Message]) -> dict[str, Any]:
    """What ollama gives a template for a conversation: messages of one role in a row are one, and
    the system's are joined beside them."""
    joined: list[dict[str, str]] = []
    for one in messages:
        if joined and joined[-1]["Role"] == one.role:
            joined[-1]["Content"] += "\n\n" + one.content
        else:
            joined.append({"Role": one.role, "Content": one.content})
    system = "\n\n".join(one.content for one in messages if one.role == "system")
    return {"System": system, "Messages": joined}


def run(template: str, data: Mapping[str, Any]) -> str:
    """The text that a template makes of `data`. Raises NotGo."""
    pieces = list(_pieces(template))
    nodes, rest = _block(pieces, 0)
    if rest != len(pieces):
        raise NotGo(f"`{pieces[rest][1]}` closes nothing")
    return _text(nodes, _Scope(data, data, {}))


def quoted(text: str) -> str:
    """Text as it stands in a template: braces that would open an action become a constant, and so
    does one at the end, which would open one with those of an action after it."""
    opened = text.replace("{{", '{{ "{{" }}')
    return f'{opened[:-1]}{{{{ "{{" }}}}' if opened.endswith("{") else opened


@dataclass(frozen=True)
class _Node:
    """`kind`: text, show, if or range. `arms`: of an `if`, conditions with their blocks ("" is
    `else`); of a `range`, its head with its block."""

    kind: str
    text: str = ""
    arms: list[tuple[str, list[_Node]]] = field(default_factory=list)


@dataclass(frozen=True)
class _Scope:
    """`$`, `.` and the variables."""

    root: Any
    dot: Any
    names: dict[str, Any]


def _pieces(template: str) -> Iterator[tuple[bool, str]]:
    """(is it an action, text) in order. As in Go, the first two braces open an action, whatever
    comes after them."""
    at = 0
    while at < len(template):
        start = template.find("{{", at)
        start = len(template) if start < 0 else start
        if at < start:
            yield False, template[at:start]
        if start == len(template):
            return
        found = _ACTION.match(template, start)
        if not found:
            raise NotGo(f"an action that is not known: `{template[start : start + 40]}`")
        yield True, found[1]
        at = found.end()


def _block(pieces: Sequence[tuple[bool, str]], at: int) -> tuple[list[_Node], int]:
    """The nodes up to an `else` or `end` that belongs to the block around, and its place."""
    nodes: list[_Node] = []
    while at < len(pieces):
        action, text = pieces[at]
        word = text.split(" ", 1)[0] if action else ""
        if word in ("else", "end"):
            break
        if word in ("if", "range"):
            node, at = _branch(pieces, at, word)
            nodes.append(node)
            continue
        nodes.append(_Node("show" if action else "text", text))
        at += 1
    return nodes, at


def _branch(pieces: Sequence[tuple[bool, str]], at: int, word: str) -> tuple[_Node, int]:
    """An `if` or `range` whose first action is at `at`, and the place after its `end`."""
    head = pieces[at][1]
    arms: list[tuple[str, list[_Node]]] = []
    while True:
        nodes, at = _block(pieces, at + 1)
        arms.append((head.removeprefix("if ") if word == "if" else head, nodes))
        if at == len(pieces):
            raise NotGo(f"`{head}` has no end")
        closing = pieces[at][1]
        if closing == "end":
            return _Node(word, arms=arms), at + 1
        if word == "range":
            raise NotGo("an `else` of `range` is not known")
        head = closing.removeprefix("else").strip()


def _text(nodes: Sequence[_Node], scope: _Scope) -> str:
    return "".join(_one(node, scope) for node in nodes)


def _one(node: _Node, scope: _Scope) -> str:
    if node.kind == "text":
        return node.text
    if node.kind == "show":
        return str(_value(node.text, scope))
    if node.kind == "if":
        for condition, nodes in node.arms:
            if not condition or _value(condition, scope):
                return _text(nodes, scope)
        return ""
    head, nodes = node.arms[0]
    found = _RANGE.fullmatch(head)
    if not found:
        raise NotGo(f"`{head}` is not known")
    parts = []
    for place, item in enumerate(_value(found[3], scope)):
        names = {found[1]: place, found[2]: item} if found[1] else {}
        parts.append(_text(nodes, _Scope(scope.root, item, {**scope.names, **names})))
    return "".join(parts)


def _value(expression: str, scope: _Scope) -> Any:
    words = _WORD.findall(expression)
    try:
        value, rest = _call(words, 0, scope)
    except (TypeError, IndexError) as error:
        raise NotGo(f"`{expression}` has arguments that do not fit") from error
    if rest != len(words):
        raise NotGo(f"`{expression}` goes on after its end")
    return value


def _call(words: Sequence[str], at: int, scope: _Scope) -> tuple[Any, int]:
    """A function with its arguments, or a single operand, up to a closing bracket."""
    name = words[at]
    if name not in _FUNCTIONS:
        return _operand(words, at, scope)
    arguments: list[Any] = []
    at += 1
    while at < len(words) and words[at] != ")":
        value, at = _operand(words, at, scope)
        arguments.append(value)
    return _FUNCTIONS[name](*arguments), at


def _operand(words: Sequence[str], at: int, scope: _Scope) -> tuple[Any, int]:
    word = words[at]
    if word == "(":
        value, at = _call(words, at + 1, scope)
        if at >= len(words) or words[at] != ")":
            raise NotGo("a bracket is not closed")
        return value, at + 1
    if word[0] == '"':
        return json.loads(word), at + 1
    if word.isdigit():
        return int(word), at + 1
    start, *fields = word.split(".")
    if start not in ("", "$", *scope.names):
        raise NotGo(f"`{word}` is not known")
    held = scope.dot if not start else scope.root if start == "$" else scope.names[start]
    for name in fields:
        if name not in held:  # a map's missing key would be Go's `<no value>`
            raise NotGo(f"there is no `{word}`")
        held = held[name]
    return held, at + 1


def _and(*values: Any) -> Any:
    """Go's: the first argument that is empty, else the last."""
    return next((value for value in values if not value), values[-1])


_FUNCTIONS: dict[str, Any] = {
    "eq": lambda left, right: left == right,
    "and": _and,
    "len": len,
    "slice": lambda whole, start: whole[start:],
}

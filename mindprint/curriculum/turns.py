"""Conversations out of lists of messages: roles, texts, and the order of turns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, cast, get_args

from mindprint.curriculum.fields import Complain, kind, nearest
from mindprint.curriculum.records import Message, Role
from mindprint.curriculum.values import printable

Dialect = Literal["openai", "sharegpt"]

ROLES: tuple[str, ...] = get_args(Role)
SHAREGPT: Mapping[str, Role] = {
    "system": "system",
    "human": "user",
    "user": "user",
    "gpt": "assistant",
    "chatgpt": "assistant",
    "model": "assistant",
    "bot": "assistant",
    "assistant": "assistant",
}
_KEYS: Mapping[Dialect, tuple[str, str]] = {
    "openai": ("role", "content"),
    "sharegpt": ("from", "value"),
}
# Keys of a message that carry no words.
_LABELS = frozenset({"name", "id", "timestamp", "model"})


def messages_of(value: Any, at: str, dialect: Dialect, complain: Complain) -> tuple[Message, ...]:
    """The messages of the list `value`, in order; a fault at `at[i].key` for each that is wrong."""
    if isinstance(value, str) or not isinstance(value, Sequence):
        complain(f"must be a list of messages, not {kind(value)}", at)
        return ()
    if not value:
        complain("holds no message", at)
    made = (one_message(one, f"{at}[{i}]", dialect, complain) for i, one in enumerate(value))
    return tuple(message for message in made if message is not None)


def one_message(value: Any, at: str, dialect: Dialect, complain: Complain) -> Message | None:
    role_key, text_key = _KEYS[dialect]
    if not isinstance(value, Mapping):
        complain(f"a message is an object with `{role_key}` and `{text_key}`", at)
        return None
    for key, held in value.items():
        if key not in {role_key, text_key} and key not in _LABELS and held is not None:
            hint = nearest(key, {role_key, text_key})
            complain(f"unknown key `{printable(key)}`{hint}", at)
    role = _role(value.get(role_key), f"{at}.{role_key}", dialect, complain)
    content = _content(value.get(text_key), f"{at}.{text_key}", complain)
    if role is None or content is None:
        return None
    return Message(role, content)


def _role(value: Any, at: str, dialect: Dialect, complain: Complain) -> Role | None:
    if dialect == "sharegpt" and isinstance(value, str) and value in SHAREGPT:
        return SHAREGPT[value]
    if dialect == "openai" and value in ROLES:
        return cast(Role, value)
    if not isinstance(value, str):
        complain("is missing" if value is None else f"must be a text, not {kind(value)}", at)
        return None
    names = tuple(SHAREGPT) if dialect == "sharegpt" else ROLES
    meant = SHAREGPT.get(value)
    hint = f"; did you mean `{meant}`?" if meant else nearest(value, names).replace("keys", "roles")
    complain(f"unknown role `{printable(value)}`{hint}", at)
    return None


def _content(value: Any, at: str, complain: Complain) -> str | None:
    """A text, or OpenAI's list of `{"type": "text", "text": ...}` parts joined."""
    if isinstance(value, list) and value:
        parts = [part.get("text") if isinstance(part, Mapping) else None for part in value]
        kinds = [part.get("type") if isinstance(part, Mapping) else None for part in value]
        if all(one == "text" for one in kinds) and all(isinstance(part, str) for part in parts):
            value = "".join(cast(list[str], parts))
        else:
            complain("holds parts that are not text", at)
            return None
    if not isinstance(value, str):
        complain("is missing" if value is None else f"must be a text, not {kind(value)}", at)
        return None
    if not value.strip():
        complain("is empty", at)
        return None
    return value


def check_turns(messages: Sequence[Message], at: str, end: Role, complain: Complain) -> bool:
    """A system message first if at all, then user and assistant in turn, `end` speaking last."""
    if not messages:
        return False
    if not any(message.role == "assistant" for message in messages) and end == "assistant":
        complain("has no assistant turn: there is nothing to learn", at)
        return False
    wanted = "user"
    for place, message in enumerate(messages):
        if message.role == "system":
            if place:
                complain("turns out of order: a system message stands first", f"{at}[{place}]")
                return False
        elif message.role != wanted:
            what = f"turns out of order: {_a(message.role)} turn where {_a(wanted)} turn belongs"
            complain(what, f"{at}[{place}]")
            return False
        else:
            wanted = "assistant" if wanted == "user" else "user"
    if messages[-1].role != end:
        complain(f"ends with {_a(messages[-1].role)} turn, not {_a(end)} turn", at)
        return False
    return True


def _a(role: str) -> str:
    return f"an {role}" if role.startswith("a") else f"a {role}"

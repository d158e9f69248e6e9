"""Which format a file's rows are in, and training and preference rows out of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mindprint.curriculum.fields import METADATA, Complain, kind, nearest, text, unknown
from mindprint.curriculum.readers import Rows
from mindprint.curriculum.records import Message, Role, Source, TrainRow
from mindprint.curriculum.turns import (
    Dialect,
    check_turns,
    messages_of,
    one_message,
)
from mindprint.curriculum.values import printable

Values = Mapping[str, Any]


@dataclass(frozen=True)
class Format:
    """A row is in this format when it has every key of `needs`; it may have those of `may`."""

    name: str
    needs: frozenset[str]
    may: frozenset[str]
    convert: Callable[[Values, Complain], tuple[Message, ...]]

    @property
    def keys(self) -> frozenset[str]:
        return self.needs | self.may


def train_rows(rows: Rows) -> tuple[str, tuple[TrainRow, ...]]:
    """The file's format and its conversations; what is wrong is added to `rows.faults`.

    One file is in one format: the one that most of its rows are in.
    """
    found = detect(rows, {form.name: form.needs for form in TRAIN})
    form = next((form for form in TRAIN if form.name == found), None)
    if form is None:
        return "", ()
    made = []
    for row in rows.rows:
        faults = Complaints(rows, row.line)
        if not fits(row.values, found, form.needs, faults):
            continue
        unknown(row.values, form.keys, faults)
        messages = form.convert(row.values, faults)
        if not faults.count and check_turns(messages, _place(found), "assistant", faults):
            made.append(TrainRow(messages, Source(rows.file, row.line)))
    return found, tuple(made)


class Complaints:
    """Adds a row's faults to those of its file, and counts them."""

    def __init__(self, rows: Rows, line: int) -> None:
        self._rows = rows
        self._line = line
        self.count = 0

    def __call__(self, what: str, at: str) -> None:
        self.count += 1
        self._rows.fault(self._line, what, at)


def detect(rows: Rows, table: Mapping[str, frozenset[str]]) -> str:
    """The name of the format that most rows have every needed key of; "" with a fault for none."""
    counts = Counter(
        next((name for name, needs in table.items() if needs <= row.values.keys()), "")
        for row in rows.rows
    )
    del counts[""]
    if counts:
        return counts.most_common(1)[0][0]
    if rows.rows:
        row = rows.rows[0]
        keys = ", ".join(f"`{printable(key)}`" for key in list(row.values)[:8]) or "none"
        keys += f" and {len(row.values) - 8} more" if len(row.values) > 8 else ""
        wanted = " | ".join(" + ".join(sorted(needs)) for needs in table.values())
        rows.fault(row.line, f"no known row format: the keys are {keys}; known are {wanted}")
    return ""


def fits(values: Values, name: str, needs: frozenset[str], complain: Complain) -> bool:
    """Whether a row has the keys of its file's format; if not, a fault for each it lacks."""
    lacking = sorted(needs - values.keys())
    for key in lacking:
        near = nearest(key, values.keys() - needs - METADATA)
        hint = f"; is `{near.split('`')[1]}` meant?" if "did you mean" in near else ""
        complain(f"`{key}` is missing, and the file's rows are {name} rows{hint}", "")
    return not lacking


def _place(name: str) -> str:
    return {"messages": "messages", "sharegpt": "conversations"}.get(name, "")


def _said(*turns: tuple[Role, str]) -> tuple[Message, ...]:
    """Messages of (role, text), the empty ones left out."""
    return tuple(Message(role, said) for role, said in turns if said)


def _from_messages(values: Values, complain: Complain) -> tuple[Message, ...]:
    return messages_of(values["messages"], "messages", "openai", complain)


def _from_sharegpt(values: Values, complain: Complain) -> tuple[Message, ...]:
    system = text(values, "system", complain, needed=False)
    messages = messages_of(values["conversations"], "conversations", "sharegpt", complain)
    return (*_said(("system", system)), *messages)


def _from_completion(values: Values, complain: Complain) -> tuple[Message, ...]:
    prompt = spoken(values, "prompt", "user", complain)
    return (*prompt, *spoken(values, "completion", "assistant", complain))


def _from_alpaca(values: Values, complain: Complain) -> tuple[Message, ...]:
    """The instruction and, after a blank line, its input; history's pairs come before."""
    asked = text(values, "instruction", complain)
    given = text(values, "input", complain, needed=False)
    system = text(values, "system", complain, needed=False)
    answer = text(values, "output", complain)
    past = _history(values.get("history"), complain)
    question = f"{asked}\n\n{given}" if asked and given else asked
    return (
        *_said(("system", system)),
        *past,
        *_said(("user", question), ("assistant", answer)),
    )


def _history(value: Any, complain: Complain) -> tuple[Message, ...]:
    if value is None:
        return ()
    if not isinstance(value, list):
        complain(f"must be a list of [question, answer] pairs, not {kind(value)}", "history")
        return ()
    past: list[Message] = []
    for place, pair in enumerate(value):
        if isinstance(pair, list) and [type(one) for one in pair] == [str, str] and all(pair):
            past += _said(("user", pair[0]), ("assistant", pair[1]))
        else:
            complain("must be two texts, question and answer", f"history[{place}]")
    return tuple(past)


def _from_question(values: Values, complain: Complain) -> tuple[Message, ...]:
    system = text(values, "system", complain, needed=False)
    question, answer = text(values, "question", complain), text(values, "answer", complain)
    return _said(("system", system), ("user", question), ("assistant", answer))


def spoken(values: Values, key: str, role: Role, complain: Complain) -> tuple[Message, ...]:
    """A text as one turn of `role`, or a list of messages in either dialect, or one message."""
    value = values[key]
    if isinstance(value, (list, Mapping)):
        dialect = dialect_of(value)
        if isinstance(value, list):
            return messages_of(value, key, dialect, complain)
        message = one_message(value, key, dialect, complain)
        return () if message is None else (message,)
    return _said((role, text(values, key, complain)))


def dialect_of(value: Any) -> Dialect:
    first = value[0] if isinstance(value, list) and value else value
    return "sharegpt" if isinstance(first, Mapping) and "from" in first else "openai"


_SYSTEM = frozenset({"system"})
TRAIN: Sequence[Format] = (
    Format("messages", frozenset({"messages"}), frozenset(), _from_messages),
    Format("sharegpt", frozenset({"conversations"}), _SYSTEM, _from_sharegpt),
    Format("prompt-completion", frozenset({"prompt", "completion"}), frozenset(), _from_completion),
    Format(
        "alpaca",
        frozenset({"instruction", "output"}),
        frozenset({"input", "system", "history"}),
        _from_alpaca,
    ),
    Format("question-answer", frozenset({"question", "answer"}), _SYSTEM, _from_question),
)

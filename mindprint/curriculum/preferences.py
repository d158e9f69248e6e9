"""Preference rows: a prompt and two answers to it, as texts or as lists of messages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mindprint.curriculum.fields import Complain, unknown
from mindprint.curriculum.formats import Complaints, detect, dialect_of, fits, spoken
from mindprint.curriculum.readers import Rows
from mindprint.curriculum.records import Message, PreferenceRow, Source
from mindprint.curriculum.turns import check_turns, messages_of

FORMATS: Mapping[str, frozenset[str]] = {
    "preference": frozenset({"prompt", "chosen", "rejected"}),
    "preference-conversation": frozenset({"conversations", "chosen", "rejected"}),
    "preference-implicit": frozenset({"chosen", "rejected"}),
}
_SIDES = ("chosen", "rejected")


def preference_rows(rows: Rows) -> tuple[str, tuple[PreferenceRow, ...]]:
    """The file's format and its pairs; what is wrong is added to `rows.faults`.

    `preference`: `prompt` beside the answers. `preference-conversation`: a `conversations` list
    beside them. `preference-implicit`: both sides are whole conversations that share their
    prompt.
    """
    found = detect(rows, FORMATS)
    if not found:
        return "", ()
    made = []
    for row in rows.rows:
        faults = Complaints(rows, row.line)
        if not fits(row.values, found, FORMATS[found], faults):
            continue
        unknown(row.values, FORMATS[found] | {"system"}, faults)
        pair = _pair(row.values, found, Source(rows.file, row.line), faults)
        if pair is not None:
            made.append(pair)
    return found, tuple(made)


def _pair(
    values: Mapping[str, Any], form: str, source: Source, faults: Complaints
) -> PreferenceRow | None:
    sides = {key: spoken(values, key, "assistant", faults) for key in _SIDES}
    prompt = _prompt(values, form, sides, faults)
    if faults.count:
        return None
    system = values.get("system")
    if isinstance(system, str) and system and prompt and prompt[0].role != "system":
        prompt = (Message("system", system), *prompt)
    answers = [_answer(sides[key], prompt, key, faults) for key in _SIDES]
    at = {"preference": "prompt", "preference-conversation": "conversations"}.get(form, "chosen")
    if faults.count or not check_turns(prompt, at, "user", faults):
        if not prompt and not faults.count:
            faults("shares no prompt with `rejected`; give the prompt as `prompt`", "chosen")
        return None
    return PreferenceRow(prompt, answers[0], answers[1], source)


def _prompt(
    values: Mapping[str, Any], form: str, sides: Mapping[str, Sequence[Message]], complain: Complain
) -> tuple[Message, ...]:
    if form == "preference":
        return spoken(values, "prompt", "user", complain)
    if form == "preference-conversation":
        value = values["conversations"]
        return messages_of(value, "conversations", dialect_of(value), complain)
    shared = []
    for one, other in zip(sides["chosen"], sides["rejected"], strict=False):
        if one != other:
            break
        shared.append(one)
    # Equal answers share everything: the last turn is still the answer, and a check names it.
    while shared and shared[-1].role == "assistant":
        shared.pop()
    return tuple(shared)


def _answer(
    side: Sequence[Message], prompt: Sequence[Message], key: str, complain: Complain
) -> str:
    """The one assistant turn of a side, which may repeat the prompt before it."""
    rest = list(side)
    spoken_prompt = [message for message in prompt if message.role != "system"]
    for lead in (list(prompt), spoken_prompt):
        if lead and rest[: len(lead)] == lead:
            rest = rest[len(lead) :]
            break
    if len(rest) == 1 and rest[0].role == "assistant":
        return rest[0].content
    what = "must be one assistant turn that answers the prompt"
    complain(f"{what}, not {len(rest)} turns" if len(rest) != 1 else f"{what}", key)
    return ""

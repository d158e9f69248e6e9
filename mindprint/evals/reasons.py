"""Why a topic's score is what it is, in words: every zero and every answer struck."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from mindprint.report.scores import Answer


def zeros(answers: Sequence[Answer], accuracy: float, voice: float) -> list[str]:
    """A sentence for each figure that is 0, for answers struck, and for patterns out of time."""
    reasons = []
    if accuracy == 0:
        reasons.append(f"accuracy 0.00: {_no_accuracy(answers)}{_commonest(answers)}")
    if voice == 0:
        reasons.append(f"voice 0.00: {_no_voice(answers)}{_commonest(answers)}")
    struck = Counter(flag for one in answers for flag in one.flags)
    if struck and voice > 0:
        count = sum(bool(one.flags) for one in answers)
        flags = ", ".join(f"{flag} ({number})" for flag, number in struck.most_common())
        reasons.append(f"{count} of {len(answers)} answers struck: {flags}")
    slow = Counter(pattern for one in answers for pattern in one.slow)
    for pattern, number in slow.most_common():
        reasons.append(f"pattern `{pattern}` ran out of time on {_many(number)} and counted 0")
    return reasons


def _no_accuracy(answers: Sequence[Answer]) -> str:
    told = [one for one in answers if one.pick is None]
    picks = [one.pick for one in answers if one.pick is not None]
    parts = []
    if told:
        points, found = sum(one.points for one in told), sum(one.found for one in told)
        held = f"{found} of {points} key points" if found else f"none of {points} key points"
        parts.append(f"{held} found in {_many(len(told))}")
        claims = sum(one.claimed for one in told)
        if claims:
            parts.append(f"{claims} forbidden claim{'s' if claims > 1 else ''} made")
    if picks:
        right = sum(one.right for one in picks)
        parts.append(f"{right} of {len(picks)} choices right, no better than chance")
    return ", ".join(parts)


def _no_voice(answers: Sequence[Answer]) -> str:
    holding = sum(one.marks > 0 for one in answers)
    if not holding:
        return f"none of {_many(len(answers))} holds any marker"
    return f"{holding} of {_many(len(answers))} hold markers, and each is struck"


def _commonest(answers: Sequence[Answer]) -> str:
    """The most frequent flag, hard ones before the rest."""
    hard = Counter(flag for one in answers for flag in one.flags)
    counts = hard or Counter(flag for one in answers for flag in one.soft)
    if not counts:
        return ""
    flag, count = counts.most_common(1)[0]
    return f"; most frequent flag: {flag} ({count} of {len(answers)})"


def _many(answers: int) -> str:
    return f"{answers} answer{'' if answers == 1 else 's'}"

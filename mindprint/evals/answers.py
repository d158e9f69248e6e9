"""Judging answers one by one, and a topic's answers together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

from mindprint.curriculum.records import QuizItem, Voice
from mindprint.errors import StageError
from mindprint.evals import degeneracy
from mindprint.evals.choice import Pick, choice_accuracy
from mindprint.evals.quiz import recall
from mindprint.evals.voice import score_voice
from mindprint.report.model import Score


@dataclass(frozen=True)
class Judged:
    """One answer's scores in 0..1, its flags, and in words what it lacks.

    `found` of `points` key points, `claimed` forbidden claims and `marks` of the voice stand in
    the text, whether or not a hard flag struck the scores to 0. `slow`: patterns out of time.
    """

    accuracy: float
    voice: float
    flags: tuple[str, ...] = ()
    reasons: tuple[str, ...] = ()
    found: int = 0
    points: int = 0
    claimed: int = 0
    marks: int = 0
    slow: tuple[str, ...] = ()

    @property
    def hard(self) -> tuple[str, ...]:
        """The flags that strike the answer."""
        return degeneracy.hard_flags(self.flags)


def judge(
    item: QuizItem,
    voice: Voice,
    generated_text: str,
    raw_text: str,
    ids: Sequence[int],
    stop: str,
    *,
    special: Sequence[str] = (),
) -> Judged:
    """Score one generated answer.

    `generated_text` is decoded without special tokens, `raw_text` with them; `ids` exclude the
    token that ended it; `stop`: "stop" or "length"; `special`: the renderer's `special_texts`.
    The voice's `never_claims` count as forbidden claims of every item.
    """
    told = recall(item, generated_text, voice.never_claims)
    voiced = score_voice(generated_text, voice)
    flags = degeneracy.flags_of(generated_text, raw_text, ids, stop, special)
    hard = degeneracy.hard_flags(flags)
    reasons: tuple[str, ...] = (*told.reasons, *voiced.reasons)
    if hard:
        names = degeneracy.leaked(generated_text, raw_text, special)
        detail = f" ({', '.join(f'`{name}`' for name in names)})" if names else ""
        reasons = (f"scores 0 in both: {', '.join(hard)}{detail}", *reasons)
    return Judged(
        accuracy=0.0 if hard else told.accuracy,
        voice=0.0 if hard else voiced.score,
        flags=flags,
        reasons=reasons,
        found=told.found,
        points=told.points,
        claimed=told.claimed + told.never,
        marks=voiced.marks,
        slow=voiced.slow,
    )


def with_pick(judged: Judged, item: QuizItem, pick: Pick) -> Judged:
    """The answer with its accuracy by likelihood, for an item with choices, and why."""
    chosen = item.choices[pick.picked]
    verdict = "right" if pick.right else f"right is `{item.choices[pick.answer]}`"
    return replace(
        judged,
        accuracy=float(pick.right),
        reasons=(f"likeliest choice: `{chosen}`; {verdict}", *judged.reasons),
    )


def summarise(judged: Sequence[Judged], picks: Sequence[Pick | None] = ()) -> Score:
    """A topic's score: means over its answers, each zero with its reason.

    `picks`: for each answer, the choice by likelihood where its item has choices (else None).
    Those items count towards accuracy by their share right, corrected for chance over the topic;
    voice and degeneracy always come from the generated answers. Raises StageError for no answer.
    """
    if not judged:
        raise StageError("there is no answer to score", hint="the topic's quiz gave no prompts")
    if picks and len(picks) != len(judged):
        raise ValueError(f"{len(picks)} picks for {len(judged)} answers")
    made = [pick for pick in picks if pick is not None]
    told = [one for i, one in enumerate(judged) if not picks or picks[i] is None]
    by_choice = choice_accuracy(made) if made else None
    total = sum(one.accuracy for one in told) + len(made) * (by_choice or 0.0)
    accuracy = total / len(judged)
    voice = sum(one.voice for one in judged) / len(judged)
    return Score(
        accuracy=accuracy,
        voice=voice,
        degenerate=sum(bool(one.hard) for one in judged) / len(judged),
        questions=len(judged),
        choice_accuracy=by_choice,
        reasons=tuple(_reasons(judged, told, made, accuracy, voice)),
    )


def _reasons(
    judged: Sequence[Judged],
    told: Sequence[Judged],
    made: Sequence[Pick],
    accuracy: float,
    voice: float,
) -> list[str]:
    reasons = []
    if accuracy == 0:
        reasons.append(f"accuracy 0.00: {_why_no_accuracy(told, made)}{_commonest(judged)}")
    if voice == 0:
        reasons.append(f"voice 0.00: {_why_no_voice(judged)}{_commonest(judged)}")
    struck = Counter(flag for one in judged for flag in one.hard)
    if struck and voice > 0:
        count = sum(bool(one.hard) for one in judged)
        flags = ", ".join(f"{flag} ({number})" for flag, number in struck.most_common())
        reasons.append(f"{count} of {len(judged)} answers struck: {flags}")
    slow = Counter(pattern for one in judged for pattern in one.slow)
    for pattern, number in slow.most_common():
        reasons.append(f"pattern `{pattern}` ran out of time on {number} answers and counted 0")
    return reasons


def _why_no_accuracy(told: Sequence[Judged], made: Sequence[Pick]) -> str:
    parts = []
    if told:
        points, found = sum(one.points for one in told), sum(one.found for one in told)
        held = f"{found} of {points} key points" if found else f"none of {points} key points"
        parts.append(f"{held} found in {len(told)} answers")
        claims = sum(one.claimed for one in told)
        if claims:
            parts.append(f"{claims} forbidden claims made")
    if made:
        right = sum(one.right for one in made)
        parts.append(f"{right} of {len(made)} choices right, no better than chance")
    return ", ".join(parts)


def _why_no_voice(judged: Sequence[Judged]) -> str:
    holding = sum(one.marks > 0 for one in judged)
    if not holding:
        return f"none of {len(judged)} answers holds any marker"
    return f"{holding} of {len(judged)} answers hold markers, and each is struck"


def _commonest(judged: Sequence[Judged]) -> str:
    """The most frequent flag, hard ones before the rest."""
    counts = Counter(flag for one in judged for flag in one.flags)
    if not counts:
        return ""
    flag = max(counts, key=lambda name: (name in degeneracy.HARD, counts[name]))
    return f"; most frequent flag: {flag} ({counts[flag]} of {len(judged)})"

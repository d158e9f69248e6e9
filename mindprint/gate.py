"""Verdicts: numbers in, one sentence out. No path, no backend, no clock."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from mindprint.config import DpoSection, GateSection
from mindprint.report.model import Answer, Score, StageRecord

# Two-sided 95 % of a normal: a fall is real when its interval lies below 0.
Z95 = 1.96
# A stage fails on degeneracy from this share on, and from two answers on.
DEGENERATE_SHARE = 0.02
# Below this many steps a margin's sign says nothing yet.
MARGIN_STEPS = 4


@dataclass(frozen=True)
class Verdict:
    """`keep` says whether the stage's adapter stays; `sentence` says why, with its numbers."""

    keep: bool
    sentence: str


@dataclass(frozen=True)
class Exam:
    """A topic's quiz under one state of the model: the score and the answers it comes from."""

    score: Score
    answers: tuple[Answer, ...]


def passes(score: Score, gate: GateSection) -> bool:
    return score.accuracy >= gate.accuracy and score.voice >= gate.voice


def wants_dpo(score: Score, gate: GateSection, dpo: DpoSection) -> tuple[bool, str]:
    """Whether DPO runs after this score, and why."""
    if dpo.when != "auto":
        return dpo.when == "always", f"`dpo.when` is {dpo.when}"
    if score.accuracy < gate.accuracy:
        return False, f"accuracy {score.accuracy:.2f} is below {gate.accuracy:.2f}"
    if score.voice >= gate.voice:
        return False, f"voice {score.voice:.2f} has reached {gate.voice:.2f}"
    return True, (
        f"accuracy {score.accuracy:.2f} passes {gate.accuracy:.2f}, "
        f"voice {score.voice:.2f} is below {gate.voice:.2f}"
    )


def judge_sft(before: Exam, after: Exam) -> Verdict:
    """SFT did harm if accuracy fell beyond noise, if answers became degenerate, or if voice fell
    and accuracy did not rise."""
    numbers = _numbers(before.score, after.score)
    if why := _degenerated(before.score, after.score):
        return Verdict(False, f"{why}; {numbers}")
    if _fell(_accuracies(before), _accuracies(after)):
        return Verdict(False, f"accuracy fell beyond noise; {numbers}")
    if _fell(_voices(before), _voices(after)) and after.score.accuracy <= before.score.accuracy:
        return Verdict(False, f"voice fell and accuracy did not rise; {numbers}")
    return Verdict(True, numbers)


def judge_dpo(before: Exam, after: Exam, stage: StageRecord | None = None) -> Verdict:
    """DPO stays if its margin grew, voice rose, and accuracy did not fall beyond noise."""
    numbers = _numbers(before.score, after.score)
    ended = f"; ended early: {stage.stopped}" if stage is not None and stage.stopped else ""
    if stage is not None and (margin := _late_margin(stage)) <= 0:
        what = f"the margin went to {margin:.3f}: the stage trained towards the rejected answers"
        return Verdict(False, f"{what}; {numbers}{ended}")
    if why := _degenerated(before.score, after.score):
        return Verdict(False, f"{why}; {numbers}{ended}")
    if _fell(_accuracies(before), _accuracies(after)):
        return Verdict(False, f"accuracy fell beyond noise; {numbers}{ended}")
    if after.score.voice <= before.score.voice and before.score.voice < 1:
        return Verdict(False, f"voice did not rise; {numbers}{ended}")
    return Verdict(True, f"{numbers}{ended}")


def judge_topic(before: Score, final: Score, gate: GateSection) -> Verdict:
    """A topic that passed stays. One that failed stays only if it is better on both, or if
    nothing is ever rolled back."""
    if passes(final, gate):
        return Verdict(True, f"passed: accuracy {final.accuracy:.2f}, voice {final.voice:.2f}")
    short = _shortfall(final, gate)
    if final.accuracy > before.accuracy and final.voice > before.voice:
        return Verdict(True, f"failed: {short}; kept, since both are better than before")
    why = "not both are better than before"
    if not gate.rollback:
        return Verdict(True, f"failed: {short}; {why}, but `gate.rollback` is off")
    return Verdict(False, f"failed: {short}; rolled back, since {why}")


def rank(before: Score, score: Score, gate: GateSection) -> tuple[bool, float, float]:
    """Orders attempts: those that may stay, then nearest to the pass mark, then by the sum."""
    keeps = judge_topic(before, score, gate).keep
    gaps = max(0.0, gate.accuracy - score.accuracy) + max(0.0, gate.voice - score.voice)
    return (keeps, -gaps, score.accuracy + score.voice)


def _late_margin(stage: StageRecord) -> float:
    """Mean margin over the last quarter of the steps, the first (always 0) left out; a stage too
    short to tell, and not stopped early either, counts as grown."""
    told = [margin for _, margin in stage.margins[1:]]
    if not told or (len(told) < MARGIN_STEPS and not stage.stopped):
        return math.inf
    late = told[-max(1, len(told) // 4) :]
    return sum(late) / len(late)


def _numbers(before: Score, after: Score) -> str:
    return (
        f"accuracy {before.accuracy:.2f} -> {after.accuracy:.2f}, "
        f"voice {before.voice:.2f} -> {after.voice:.2f} ({after.questions} questions)"
    )


def _shortfall(score: Score, gate: GateSection) -> str:
    parts = []
    if score.accuracy < gate.accuracy:
        parts.append(f"accuracy {score.accuracy:.2f} is below {gate.accuracy:.2f}")
    if score.voice < gate.voice:
        parts.append(f"voice {score.voice:.2f} is below {gate.voice:.2f}")
    return ", ".join(parts)


def _degenerated(before: Score, after: Score) -> str:
    answers = round(after.degenerate * after.questions)
    if after.degenerate > max(DEGENERATE_SHARE, before.degenerate) and answers >= 2:
        return f"{answers} of {after.questions} answers are degenerate"
    return ""


def _fell(before: Sequence[float], after: Sequence[float]) -> bool:
    """Paired by question (Miller 2024, arXiv 2411.00640): the mean difference and 1.96 standard
    errors of it lie below 0."""
    differences = [later - earlier for earlier, later in zip(before, after, strict=True)]
    count = len(differences)
    if count < 2:
        return sum(differences) < 0
    mean = sum(differences) / count
    variance = sum((value - mean) ** 2 for value in differences) / (count - 1)
    return mean < 0 and mean + Z95 * math.sqrt(variance / count) < 0


def _accuracies(exam: Exam) -> list[float]:
    return [answer.accuracy for answer in exam.answers]


def _voices(exam: Exam) -> list[float]:
    return [answer.voice for answer in exam.answers]

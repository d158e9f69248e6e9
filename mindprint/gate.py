"""Verdicts: numbers in, one sentence out. No path, no backend, no clock."""

from __future__ import annotations

import math
from dataclasses import dataclass

from mindprint.config import DpoSection, GateSection
from mindprint.evals import degeneracy
from mindprint.evals.changes import accuracy_change
from mindprint.evals.exact import mcnemar
from mindprint.evals.sheet import Exam
from mindprint.evals.stats import FEW_CLUSTERS, paired, shown_by
from mindprint.report.model import StageRecord
from mindprint.report.scores import Difference, Score

# Fewer questions with choices than these cannot turn so that chance is ruled out.
FEWEST_CHOICES = 6
# Five questions or fewer cannot rule out noise; a fall as large as this is not waited out.
LARGE_FALL = 0.5
# Below this many steps a margin's sign says nothing yet.
MARGIN_STEPS = 4
# Below this many questions a verdict says how large a fall it could not have seen.
MANY_CLUSTERS = 30
# A mean chance of ending at once up to this is nothing to speak of.
FIRST_STOP = 0.01
# A p below this is said to be below it.
SMALLEST_P = 0.001
CALIBRATED = ("calibrated", "calibrated")
BY_MARKERS = "by the markers: the calibrated voice cannot be measured here"


@dataclass(frozen=True)
class Verdict:
    """`keep` says whether the stage's adapter stays; `sentence` says why, with its numbers."""

    keep: bool
    sentence: str


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


def judge_sft(
    before: Exam,
    after: Exam,
    voice: Difference | None = None,
    *,
    seed: int = 0,
    resamples: int = 2000,
) -> Verdict:
    """SFT did harm if accuracy fell beyond noise, if answers became degenerate, or if voice fell
    beyond noise and accuracy did not rise.

    `voice`: the paired change of the calibrated voice over the open prompts; None where it cannot
    be measured, and the markers are compared, question by question. Raises ValueError where the
    exams do not have the same questions.
    """
    change = _change(before, after, voice, seed, resamples)
    numbers = _numbers(before, after, change)
    if why := _degenerated(before, after):
        return Verdict(False, f"{why}; {numbers}")
    if why := _fell(change.accuracy):
        return Verdict(False, f"{why}; {numbers}")
    if change.voice.fell and change.accuracy.value <= 0:
        return Verdict(False, f"voice fell beyond noise and accuracy did not rise; {numbers}")
    return Verdict(True, numbers)


def judge_dpo(
    before: Exam,
    after: Exam,
    stage: StageRecord | None = None,
    voice: Difference | None = None,
    *,
    seed: int = 0,
    resamples: int = 2000,
) -> Verdict:
    """DPO stays if its margin grew, no flood of degenerate answers came, accuracy did not fall
    beyond noise and voice rose, or did not fall where it had no room to rise.

    `stage`: the stage as it was run, for its margins; `voice` and ValueError as for `judge_sft`.
    """
    change = _change(before, after, voice, seed, resamples)
    numbers = _numbers(before, after, change)
    ended = f"; ended early: {stage.stopped}" if stage is not None and stage.stopped else ""
    unseen = _unseen(before, change.accuracy)
    if stage is not None and (margin := _late_margin(stage)) <= 0:
        what = f"the margin went to {margin:.3f}: the stage trained towards the rejected answers"
        return Verdict(False, f"{what}; {numbers}{unseen}{ended}")
    if why := _degenerated(before, after):
        return Verdict(False, f"{why}; {numbers}{unseen}{ended}")
    if why := _fell(change.accuracy):
        return Verdict(False, f"{why}; {numbers}{ended}")
    if change.voice.fell:
        return Verdict(False, f"voice fell beyond noise; {numbers}{unseen}{ended}")
    if change.voice.value <= 0 and not change.full:
        return Verdict(False, f"voice did not rise; {numbers}{unseen}{ended}")
    doubt = "" if change.full or change.voice.rose else "; voice is higher, but not beyond noise"
    return Verdict(True, f"{numbers}{doubt}{unseen}{ended}")


def judge_failed(stage: StageRecord) -> Verdict:
    """A stage that gave its topic up is undone, whatever its answers were like."""
    return Verdict(False, f"the topic is given up: {stage.failed}")


def judge_failed_topic(why: str) -> Verdict:
    """A topic that was given up goes with all its stages, even where nothing else is undone."""
    return Verdict(False, f"failed: {why}; rolled back")


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


def _fell(accuracy: Difference) -> str:
    """Why accuracy counts as fallen, or nothing."""
    if accuracy.fell:
        return "accuracy fell beyond noise"
    if accuracy.value <= -LARGE_FALL:
        return "accuracy fell by half or more, on too few questions to rule out noise"
    return ""


def _late_margin(stage: StageRecord) -> float:
    """Mean margin over the last quarter of the steps, the first (always 0) left out; a stage too
    short to tell, and not stopped early either, counts as grown."""
    told = [margin for _, margin in stage.margins[1:]]
    if not told or (len(told) < MARGIN_STEPS and not stage.stopped):
        return math.inf
    late = told[-max(1, len(told) // 4) :]
    return sum(late) / len(late)


@dataclass(frozen=True)
class _Change:
    """From one exam to the next: paired differences; `full`: no voice was lacking before.
    `shown`: the voice before and after, None where the two exams are not on one scale."""

    accuracy: Difference
    voice: Difference
    calibrated: bool
    full: bool
    shown: tuple[float, float] | None


def _change(
    before: Exam, after: Exam, voice: Difference | None, seed: int, resamples: int
) -> _Change:
    def compare(earlier: list[float], later: list[float]) -> Difference:
        return paired(earlier, later, before.clusters, seed=seed, resamples=resamples)

    accuracy = accuracy_change(before, after, seed=seed, resamples=resamples)
    if voice is None:
        earlier, later = _voices(before), _voices(after)
        means = (sum(earlier) / len(earlier), sum(later) / len(later))
        return _Change(accuracy, compare(earlier, later), False, means[0] >= 1, means)
    scales = (before.score.voice_by, after.score.voice_by)
    shown = (before.score.voice, after.score.voice)
    full = scales[0] == "calibrated" and shown[0] >= 1
    return _Change(accuracy, voice, True, full, shown if scales == CALIBRATED else None)


def _numbers(before: Exam, after: Exam, change: _Change) -> str:
    """Accuracy and voice before and after, how far apart, and how sure that is."""
    questions = _questions(change.accuracy.clusters, len(after.answers))
    scores = f"accuracy {before.score.accuracy:.2f} -> {after.score.accuracy:.2f}"
    told = _difference(change.accuracy, questions) + _turned(before, after)
    spoken = "voice"
    if change.shown is not None:
        spoken += f" {change.shown[0]:.2f} -> {change.shown[1]:.2f}"
    how = "" if change.calibrated else BY_MARKERS
    voiced = _difference(change.voice, how, interval="")
    return f"{scores} ({told}), {spoken} ({voiced}){_ended_at_once(before, after)}"


def _difference(change: Difference, more: str = "", interval: str = "95 % interval ") -> str:
    """`+0.77, 95 % interval +0.54 to +0.92`; across 0 it is noise, and said to be."""
    noise = "" if change.rose or change.fell else "within noise: "
    ends = f"{noise}{interval}{_signed(change.low)} to {_signed(change.high)}"
    return ", ".join(part for part in (_signed(change.value), ends, more) if part)


def _signed(value: float) -> str:
    """Two decimals, three where two would read as 0 and it is not."""
    short = f"{value:+.2f}"
    if float(short):
        return short
    return f"{value:+.3f}" if float(f"{value:.3f}") else "+0.00"


def _questions(clusters: int, answers: int) -> str:
    told = f"{clusters} question{'s' if clusters != 1 else ''}"
    return told if answers == clusters else f"{told} in {answers} phrasings"


def _turned(before: Exam, after: Exam) -> str:
    """Which choices turned right and wrong, and how likely so uneven a split is by chance."""
    earlier, later = _chosen(before), _chosen(after)
    if len(earlier) < FEWEST_CHOICES:
        return ""
    pairs = list(zip(earlier, later, strict=True))
    gained = sum(now and not then for then, now in pairs)
    lost = sum(then and not now for then, now in pairs)
    p = mcnemar(earlier, later)
    likely = f"p = {p:.3f}" if p >= SMALLEST_P else f"p < {SMALLEST_P}"
    split = f"{gained} turned right and {lost} turned wrong"
    return f"; of {len(pairs)} questions with choices {split}, McNemar's exact test {likely}"


def _chosen(exam: Exam) -> list[bool]:
    """For each question with choices whether more than half of its phrasings were right: further
    phrasings are no further evidence."""
    clusters = exam.clusters or range(len(exam.answers))
    votes: dict[int, list[bool]] = {}
    for cluster, answer in zip(clusters, exam.answers, strict=True):
        if answer.pick is not None:
            votes.setdefault(cluster, []).append(answer.pick.right)
    return [2 * sum(rights) > len(rights) for rights in votes.values()]


def _ended_at_once(before: Exam, after: Exam) -> str:
    """The chance that an answer ends before its first word, where that rose a lot."""
    earlier, later = before.score.first_stop, after.score.first_stop
    if earlier is None or later is None or later <= max(FIRST_STOP, 2 * earlier):
        return ""
    return f", mean chance that an answer ends before its first word {earlier:.3f} -> {later:.3f}"


def _unseen(before: Exam, accuracy: Difference) -> str:
    """What so few questions cannot show; nothing falls below an accuracy of 0."""
    clusters = accuracy.clusters
    # So few are never beyond noise, but a fall of half of them is undone all the same.
    few = clusters < FEW_CLUSTERS
    unseen = shown_by(math.ceil(clusters * LARGE_FALL), clusters) if few else accuracy.unseen
    fall = min(unseen, before.score.accuracy)
    if clusters >= MANY_CLUSTERS or accuracy.rose or fall < 0.005:
        return ""
    questions = _questions(clusters, clusters)
    return f"; a fall of accuracy of up to {fall:.2f} could have gone unseen with {questions}"


def _shortfall(score: Score, gate: GateSection) -> str:
    parts = []
    if score.accuracy < gate.accuracy:
        parts.append(f"accuracy {score.accuracy:.2f} is below {gate.accuracy:.2f}")
    if score.voice < gate.voice:
        parts.append(f"voice {score.voice:.2f} is below {gate.voice:.2f}")
    return ", ".join(parts)


def _degenerated(before: Exam, after: Exam) -> str:
    return degeneracy.fails(
        [answer.flags for answer in after.answers], [answer.flags for answer in before.answers]
    )


def _voices(exam: Exam) -> list[float]:
    return [answer.voice for answer in exam.answers]

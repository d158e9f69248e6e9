"""An evaluation as tables on a terminal."""

from __future__ import annotations

from mindprint.cli import output
from mindprint.evals.prompts import RETENTION
from mindprint.evaluation import BaseRecord, Evaluation, QuizEvaluation
from mindprint.report.scores import Interval, Score
from mindprint.report.text import Table, plain
from mindprint.report.voice import Reading, VoiceRecord
from mindprint.report.words import NONE, seconds, several, share


def show(found: Evaluation) -> None:
    """What was asked and answered, on stdout; intervals are 95 %."""
    parts = [_head(found), plain(quiz_table(found)), plain(claim_table(found))]
    if found.voice is not None and found.voice.final is not None:
        reading = found.voice.final
        parts += [_voice(found, reading), plain(family_table(reading))]
        if found.voice.controls:
            parts.append(plain(control_table(found.voice)))
    if found.voice_note:
        parts.append(found.voice_note)
    parts.append(f"{seconds(found.seconds)}; brackets hold 95 % intervals")
    output.table("\n\n".join(parts))


def quiz_table(found: Evaluation) -> Table:
    """A line for each topic, and for the retention set."""
    head = ("topic", "questions", "accuracy", "markers", "degenerate", "nll per token")
    rows = tuple(_quiz(part) for part in _parts(found))
    return Table(head, rows, frozenset({1}))


def claim_table(found: Evaluation) -> Table:
    """Forbidden claims and, where a question has choices, three ways to weigh an answer."""
    parts = _parts(found)
    head: tuple[str, ...] = ("topic", "forbidden claims")
    rows: list[tuple[str, ...]] = [(part.title, share(part.score.claimed)) for part in parts]
    if any(part.score.choice_by_sum is not None for part in parts):
        head = (*head, "choice by sum", "per character", "per byte")
        rows = [(*row, *_choices(part.score)) for row, part in zip(rows, parts, strict=True)]
    return Table(head, tuple(rows), frozenset(range(1, len(head))))


def family_table(reading: Reading) -> Table:
    """Similarities to the author's held-out answers, and the place between base and author."""
    head = ("voice family", "base", "author", "model", "AUC", "on the scale")
    rows = tuple(
        (
            one.name,
            share(one.base),
            share(one.author),
            share(one.model),
            share(one.auc),
            _bracketed(one.value, one.low, one.high) if one.measurable else f"{NONE} {one.because}",
        )
        for one in reading.families
    )
    return Table(head, rows, frozenset({1, 2, 3, 4}))


def control_table(voice: VoiceRecord) -> Table:
    """The scores that keep the voice honest."""
    rows = tuple(
        (one.name, _bracketed(one.value, one.low, one.high), one.expected) for one in voice.controls
    )
    return Table(("control", "on the scale", "expected"), rows)


def _head(found: Evaluation) -> str:
    model = found.model
    worn = several(len(found.adapters), "adapter") if found.adapters else "no adapter"
    return (
        f"{model.path} ({model.dtype} on {model.device}, {found.backend}) with {worn}, "
        f"asked `{found.title}` by {found.author}"
    )


def _voice(found: Evaluation, reading: Reading) -> str:
    return (
        f"voice {_bracketed(reading.value, reading.low, reading.high)} on the scale from the base "
        f"(0: {_base(found.base)}) to the author's own answers (1), "
        f"over {reading.prompts} open prompts; "
        f"{share(reading.copied)} of it copied from the training rows"
    )


def _base(base: BaseRecord | None) -> str:
    if base is None:
        return NONE
    worn = f" with {several(len(base.adapters), 'adapter')}" if base.adapters else ""
    return f"{base.called}{worn}"


def _choices(score: Score) -> tuple[str, str, str]:
    shares = (score.choice_by_sum, score.choice_by_character, score.choice_by_byte)
    by_sum, by_character, by_byte = map(share, shares)
    return by_sum, by_character, by_byte


def _parts(found: Evaluation) -> tuple[QuizEvaluation, ...]:
    return found.topics if found.retention is None else (*found.topics, found.retention)


def _quiz(part: QuizEvaluation) -> tuple[str, ...]:
    score = part.score
    return (
        part.title,
        str(score.questions),
        _interval(score.accuracy, score.accuracy_interval),
        # What the base knew before is not in the author's voice.
        NONE if part.id == RETENTION else _interval(score.markers, score.markers_interval),
        _of(part.degenerate),
        share(score.nll) if part.nll is None else _of(part.nll),
    )


def _of(interval: Interval) -> str:
    return _bracketed(interval.value, interval.low, interval.high)


def _interval(value: float, ends: tuple[float, float] | None) -> str:
    return share(value) if ends is None else _bracketed(value, *ends)


def _bracketed(value: float, low: float, high: float) -> str:
    return f"{share(value)} [{share(low)}, {share(high)}]"

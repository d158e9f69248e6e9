"""One evaluation of a model over a curriculum, whoever trained it, and the record of it."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from backends.contract import Session
from mindprint import __version__
from mindprint.calibration import Calibration, measured
from mindprint.config import Config
from mindprint.curriculum.records import Curriculum, QuizItem, Topic
from mindprint.evals import stats
from mindprint.evals.exam import Examiner
from mindprint.evals.lengths import kept_questions, longest_open, longest_row
from mindprint.evals.prompts import FEWEST, RETENTION, open_prompts
from mindprint.evals.sheet import Exam
from mindprint.evals.style.embedding import check as check_embedder
from mindprint.evals.text import normalise
from mindprint.report.model import ModelRecord
from mindprint.report.scores import Frozen, Interval, Question, Score
from mindprint.report.voice import Reading, VoiceRecord
from mindprint.report.words import several
from mindprint.results import model_record
from mindprint.target import Attached, Target
from mindprint.versions import versions

SCHEMA_VERSION = 1
BARE = "the model without its adapters"

Say = Callable[[str], None]


class AdapterRecord(Frozen):
    """An adapter that acted. `origin`: the ledger's topic it was trained on, or the folder it was
    given as; `sha256` is over its two files."""

    name: str
    origin: str
    sha256: str


class BaseRecord(Frozen):
    """What the voice's 0 was measured on. `called` is for people; `id` is a hash of the weights,
    `adapters` are those of a run that was named as the base."""

    called: str
    id: str
    adapters: tuple[AdapterRecord, ...]


class QuizEvaluation(Frozen):
    """The quiz of one topic, or the retention set. `degenerate` and `nll` (natural log per token
    of the reference) are those of `score` with their intervals; `nll` is None for a single
    question, whose loss has none."""

    id: str
    title: str
    score: Score
    degenerate: Interval
    nll: Interval | None
    questions: tuple[Question, ...]


class Evaluation(Frozen):
    """What `mindprint eval --json` prints. `base`: what the voice's 0 was measured on, None where
    nothing was, of which `voice_note` says why. `config` maps a dotted key to
    (value, origin); `hashes` a file of the curriculum to its SHA-256. `seconds`: all of it, with
    opening the model."""

    schema_version: int = SCHEMA_VERSION
    mindprint: str
    model: ModelRecord
    backend: str
    adapters: tuple[AdapterRecord, ...]
    base: BaseRecord | None
    title: str
    author: str
    curriculum: str
    hashes: dict[str, str]
    config: dict[
        str, tuple[str | int | float | bool | tuple[str, ...] | tuple[float, ...] | None, str]
    ]
    versions: dict[str, str]
    topics: tuple[QuizEvaluation, ...]
    retention: QuizEvaluation | None
    voice: VoiceRecord | None
    voice_note: str
    seconds: float


@dataclass(frozen=True)
class _Scale:
    """The voice scale, and the model that is its 0."""

    calibration: Calibration
    base: BaseRecord


@dataclass(frozen=True)
class _Measured:
    """What was seen while the models were open."""

    exams: dict[str, Exam]
    model: ModelRecord
    scale: _Scale | None
    reading: Reading | None
    said: tuple[str, ...]


def evaluate(
    target: Target,
    curriculum: Curriculum,
    topics: Sequence[str],
    base: Target | None = None,
    say: Say = lambda text: None,
) -> Evaluation:
    """Ask the target the quizzes of `topics`, the retention set and the open prompts.

    The voice's 0 is `base`, which is opened first and closed again; without one it is the target
    without its adapters, if it has any. Raises DataError for a quiz that cannot be rendered.
    """
    started = time.perf_counter()
    chosen = [curriculum.topic(name) for name in topics]
    config = target.resolved.config
    check_embedder(config.eval.embedder)
    longest = longest_row(target.renderer, curriculum, chosen, config)
    scale = _scale_of(base, curriculum, config, say) if base is not None else None
    say(f"opening {target.called} on {target.backend.name}")
    with target.open(longest) as session:
        seen = _ask(session, target, curriculum, chosen, scale, say)
    parts = {
        item.id: _quiz(item.id, item.title, item.quiz, seen.exams[item.id], target)
        for item in chosen
    }
    kept = kept_questions(curriculum, config)
    made = seen.scale.calibration if seen.scale is not None else None
    return Evaluation(
        mindprint=__version__,
        model=seen.model,
        backend=target.backend.name,
        adapters=_records(target.adapters),
        base=seen.scale.base if seen.scale is not None else None,
        title=curriculum.title,
        author=curriculum.author,
        curriculum=curriculum.root.name,
        hashes=dict(curriculum.hashes),
        config=target.resolved.listing(),
        versions=versions(),
        topics=tuple(parts.values()),
        retention=(
            _quiz(RETENTION, "retention", kept, seen.exams[RETENTION], target) if kept else None
        ),
        voice=made.record(seen.reading, seen.said) if made is not None else None,
        voice_note=_voice_note(curriculum, made),
        seconds=round(time.perf_counter() - started, 2),
    )


def _scale_of(base: Target, curriculum: Curriculum, config: Config, say: Say) -> _Scale | None:
    """The voice scale whose 0 is another model; nothing is opened where none can be made."""
    if not open_prompts(curriculum, config.eval.prompts):
        return None
    worn = f" with {several(len(base.adapters), 'adapter')}" if base.adapters else ""
    say(f"opening the base {base.called}{worn} on {base.backend.name}")
    with base.open(longest_open(base.renderer, curriculum, config)) as session:
        made = measured(Examiner(session, base.renderer, curriculum, config))
        records = _records(base.adapters)
        return _Scale(made, BaseRecord(called=base.called, id=session.model_id, adapters=records))


def _ask(
    session: Session,
    target: Target,
    curriculum: Curriculum,
    topics: Sequence[Topic],
    scale: _Scale | None,
    say: Say,
) -> _Measured:
    config = target.resolved.config
    examiner = Examiner(session, target.renderer, curriculum, config)
    if scale is None and session.adapters.active():
        say("asking the model without its adapters")
        with session.adapters.using(()):
            bare = BaseRecord(called=BARE, id=session.model_id, adapters=())
            scale = _Scale(measured(examiner), bare)
    groups: dict[str, Sequence[QuizItem]] = {topic.id: topic.quiz for topic in topics}
    if kept := kept_questions(curriculum, config):
        groups[RETENTION] = kept
    say(f"asking {several(sum(map(len, groups.values())), 'question')}")
    exams = examiner.ask_many(groups)
    said: tuple[str, ...] = ()
    reading = None
    if scale is not None and scale.calibration.instrument.measurable:
        examiner.instrument = scale.calibration.instrument
        say(f"asking {several(len(examiner.open_prompts), 'open prompt')}")
        said = examiner.ask_open()
        reading = examiner.instrument.read(said)
        exams |= {topic.id: examiner.read(exams[topic.id], said, reading) for topic in topics}
    return _Measured(
        exams, model_record(session, target.called, target.spec.revision), scale, reading, said
    )


def _quiz(
    name: str, title: str, items: Sequence[QuizItem], exam: Exam, target: Target
) -> QuizEvaluation:
    config = target.resolved.config
    kwargs = {"seed": config.run.seed, "resamples": config.eval.resamples}
    clusters = [item.cluster for item in items]
    struck = [float(bool(answer.flags)) for answer in exam.answers]
    losses = [answer.nll for answer in exam.answers if answer.nll is not None]
    return QuizEvaluation(
        id=name,
        title=title,
        score=exam.score,
        degenerate=stats.mean_interval(struck, clusters, **kwargs),
        nll=stats.mean_interval(losses, clusters, **kwargs) if len(set(clusters)) > 1 else None,
        questions=tuple(
            Question(
                question=item.question,
                reference=item.reference,
                cluster=item.cluster,
                answers={"final": answer},
            )
            for item, answer in zip(items, exam.answers, strict=True)
        ),
    )


def _records(adapters: Sequence[Attached]) -> tuple[AdapterRecord, ...]:
    return tuple(
        AdapterRecord(name=one.name, origin=one.origin, sha256=one.sha256) for one in adapters
    )


def _voice_note(curriculum: Curriculum, calibration: Calibration | None) -> str:
    """Why the voice is not calibrated; empty where it is."""
    if calibration is not None:
        made = calibration.instrument
        return "" if made.measurable else f"the voice is not calibrated: {made.because}"
    # The same ones as open_prompts counts, which returns none where they are too few.
    prompts = len({normalise(held.prompt) or held.prompt for held in curriculum.voice.answers})
    if prompts < FEWEST:
        why = f"the curriculum has {prompts} open prompts, and it takes {FEWEST}"
    else:
        why = "the model is its own base: name one with `--base`"
    return f"the voice is not calibrated: {why}"

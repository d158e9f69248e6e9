"""What a run will do, before it does it: stages, steps, tokens. Loop and schedule read this."""

from __future__ import annotations

import difflib
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from backends.contract import Choice
from backends.model_files import resolve
from mindprint.combination import check_combination, check_weights
from mindprint.config import Config, DpoSection, SftSection
from mindprint.curriculum.checks import FEW_ITEMS
from mindprint.curriculum.records import Curriculum
from mindprint.errors import ConfigError
from mindprint.evals.lengths import Asking, asking
from mindprint.evals.prompts import examples, open_prompts, retained
from mindprint.evals.style.embedding import check as check_embedder
from mindprint.footprint import Footprint, footprint, read_sizes
from mindprint.report.words import parameters, size
from mindprint.tokens.batches import BatchPlan
from mindprint.tokens.lessons import Lesson, Pair, make_lessons
from mindprint.tokens.render import Renderer, Row

StageKind = Literal["sft", "dpo"]


@dataclass(frozen=True)
class PlannedStage:
    """One stage. `rows` are rows, or pairs for DPO; `tokens` are trained in one epoch; DPO runs
    both rows of a pair, and is `certain` only when `dpo.when` is always."""

    topic: str
    name: StageKind
    rows: int
    held_out: int
    rows_cut: int
    tokens: int
    epochs: int
    steps: int
    certain: bool


@dataclass(frozen=True)
class Plan:
    """The stages of a first attempt at every topic, and the lessons they train. `asked`: what
    evaluations put through the model; `checkpointed`: the kinds of stages that train
    with gradient checkpointing; `memory`: bytes that each part takes at most, once estimated."""

    stages: tuple[PlannedStage, ...]
    lessons: tuple[Lesson, ...]
    choices: tuple[Choice, ...]
    questions: int
    retained: int
    open_prompts: int
    longest_row: int
    retries: int
    footprint: Footprint | None = None
    asked: Asking = field(default_factory=Asking)
    checkpointed: tuple[StageKind, ...] = ()
    memory: Mapping[str, int] = field(default_factory=dict)

    @property
    def disk(self) -> int:
        """Bytes that the run surely writes, as far as they lie there at one time."""
        return self.footprint.sure if self.footprint is not None else 0

    def with_past(self, size: int, branches: int = 0) -> Plan:
        """For a run that begins with `size` bytes of another one's adapters, `branches` of them
        LS-LoRA's."""
        if self.footprint is None:
            return self
        return replace(self, footprint=self.footprint.with_past(size, branches))

    def settled(
        self,
        choices: Sequence[Choice],
        checkpointed: Sequence[StageKind],
        memory: Mapping[str, int],
    ) -> Plan:
        """With what was chosen and estimated once it was known where it runs."""
        return replace(
            self,
            choices=(*self.choices, *choices),
            checkpointed=tuple(checkpointed),
            memory=dict(memory),
        )

    def lines(self, place: Path = Path()) -> list[tuple[str, str, str]]:
        """(what, value, note) for printing; the run is to lie in or below `place`."""
        rows = [(choice.key, choice.name, choice.because) for choice in self.choices]
        rows.append(("topics", str(len(self.lessons)), self._few_questions()))
        for kind in ("sft", "dpo"):
            rows += self._stage_line(kind)
        rows.append(("questions", str(self.questions), self._asked()))
        rows.append(("longest row", f"{self.longest_row} tokens", "answers included"))
        if self.footprint is not None:
            rows += _size_lines(self.footprint, place)
        return rows

    def as_json(self) -> dict[str, Any]:
        return {
            "stages": [asdict(stage) for stage in self.stages],
            "choices": [asdict(choice) for choice in self.choices],
            "questions": self.questions,
            "retained_questions": self.retained,
            "open_prompts": self.open_prompts,
            "longest_row": self.longest_row,
            "retries": self.retries,
            **self._sizes(),
        }

    def _sizes(self) -> dict[str, int]:
        """Of the model and its adapters; the disk goes by settings that a resumed run may change,
        so it is no part of what was planned."""
        if self.footprint is None:
            return {}
        found = asdict(self.footprint)
        return {key: found[key] for key in ("parameters", "layers", "adapter", "dpo_adapter")}

    def _asked(self) -> str:
        parts = []
        if self.retained:
            parts.append(f"{self.retained} to see what is kept of earlier topics")
        if self.open_prompts:
            parts.append(f"{self.open_prompts} open prompts for the voice")
        return ", ".join(parts)

    def _few_questions(self) -> str:
        asked = [{item.cluster for item in lesson.topic.quiz} for lesson in self.lessons]
        few = sum(len(clusters) < FEW_ITEMS for clusters in asked)
        if not few:
            return ""
        return f"{few} have fewer than {FEW_ITEMS} different quiz questions: their scores are rough"

    def _stage_line(self, kind: str) -> list[tuple[str, str, str]]:
        stages = [stage for stage in self.stages if stage.name == kind]
        if not stages:
            return []
        steps = sum(stage.steps for stage in stages)
        tokens = sum(stage.tokens * stage.epochs for stage in stages)
        cut = sum(stage.rows_cut for stage in stages)
        notes = [f"{tokens:,} trained tokens"]
        if cut:
            notes.append(f"{cut} rows cut (`sft.max_tokens`)")
        if not all(stage.certain for stage in stages):
            notes.append("where voice lags")
        elif self.retries and kind == "sft":
            notes.append(f"up to {self.retries} retries a topic, with more epochs")
        return [(kind, f"{steps} steps", ", ".join(notes))]


def make_plan(
    curriculum: Curriculum,
    config: Config,
    renderer: Renderer,
    choices: Sequence[Choice] = (),
    topics: Sequence[str] | None = None,
    folder: Path | None = None,
) -> Plan:
    """Renders every row. `folder`: where the model lies, looked up by `model.path` unless given.

    Raises ConfigError for an unknown topic, DataError for unusable rows, ModelError for weights
    that cannot be read, AdapterError for targets that match no layer.
    """
    check_combination(config)
    check_embedder(config.eval.embedder)
    names = chosen_topics(curriculum, topics)
    lessons = make_lessons(curriculum, config, renderer, names)
    stages = []
    for lesson in lessons:
        stages.append(_sft(lesson, config))
        if config.dpo.when != "never" and (lesson.pairs or config.dpo.pairs != "file"):
            stages.append(_dpo(lesson, config))
    kept = _retained(curriculum, lessons, config, stages)
    voiced = _open(curriculum, config, stages)
    # as the base, before the topic unless that is the base still, after each of its stages
    exams = {lesson.topic.id: 2 if place else 1 for place, lesson in enumerate(lessons)}
    for stage in stages:
        exams[stage.topic] += 1
    asked = sum(exams[lesson.topic.id] * len(lesson.topic.quiz) for lesson in lessons)
    where = folder or resolve(str(config.model.path), config.model.revision)
    check_weights(config, where)
    said = asking(renderer, curriculum, [one.topic for one in lessons], config)
    return Plan(
        stages=tuple(stages),
        lessons=lessons,
        choices=tuple(choices),
        questions=asked + kept + voiced,
        retained=kept,
        open_prompts=voiced,
        longest_row=max(_longest(lessons), said.longest(config.eval.max_tokens)),
        retries=config.gate.retries,
        footprint=footprint(read_sizes(where), config, stages, asked + kept + voiced),
        asked=said,
    )


def _size_lines(found: Footprint, place: Path) -> list[tuple[str, str, str]]:
    """What an adapter and the whole run take, with what is free beside it."""
    above = next(folder for folder in (place, *place.absolute().parents) if folder.is_dir())
    free = size(shutil.disk_usage(above).free)
    own = f", DPO's own {size(found.dpo_adapter)}" if found.dpo_adapter else ""
    kind = f"{found.kind}, " if found.kind else ""
    model = f"a model of {parameters(found.parameters)} parameters"
    shape = f"{kind}on {found.layers} layers of {model}"
    more = f"up to {size(found.most)} with retries and stages that may come, "
    past = [("past", size(found.past), "adapters that act from the start")] if found.past else []
    return [
        *past,
        ("adapter", size(found.adapter), f"{shape}{own}"),
        ("disk", size(found.sure), f"{more if found.most > found.sure else ''}{free} free"),
    ]


def chosen_topics(curriculum: Curriculum, topics: Sequence[str] | None) -> tuple[str, ...]:
    """Topic ids in the curriculum's order; a unit or chapter names all topics below it."""
    known = [topic.id for topic in curriculum.topics]
    if not topics:
        return tuple(known)
    chosen = set()
    for name in topics:
        below = [topic for topic in known if topic == name or topic.startswith(f"{name}/")]
        if not below:
            near = difflib.get_close_matches(name, known, n=1, cutoff=0.4)
            guess = f"did you mean `{near[0]}`? " if near else ""
            raise ConfigError(
                f"there is no topic `{name}`",
                where="--topic",
                hint=f"{guess}the topics are: {', '.join(known)}",
            )
        chosen.update(below)
    return tuple(topic for topic in known if topic in chosen)


def sft_batches(lesson: Lesson, section: SftSection, seed: int, attempt: int = 0) -> BatchPlan:
    """The order of the rows; every further attempt runs as many epochs again."""
    return BatchPlan(
        lengths=tuple(len(row.ids) for row in lesson.rows),
        epochs=section.epochs * (attempt + 1),
        batch_size=section.batch_size,
        accumulate=section.accumulate,
        seed=(seed, 0, attempt, *lesson.topic.id.encode()),
    )


def dpo_batches(
    pairs: Sequence[Pair], topic: str, section: DpoSection, seed: int, attempt: int = 0
) -> BatchPlan:
    """The order of the pairs; a pair is as long as its longer row."""
    return BatchPlan(
        lengths=tuple(max(len(pair.chosen.ids), len(pair.rejected.ids)) for pair in pairs),
        epochs=section.epochs * (attempt + 1),
        batch_size=section.batch_size,
        accumulate=section.accumulate,
        seed=(seed, 1, attempt, *topic.encode()),
    )


def _sft(lesson: Lesson, config: Config) -> PlannedStage:
    batches = sft_batches(lesson, config.sft, config.run.seed)
    return PlannedStage(
        topic=lesson.topic.id,
        name="sft",
        rows=len(lesson.rows),
        held_out=len(lesson.held_out),
        rows_cut=lesson.cut,
        tokens=_trained(lesson.rows),
        epochs=batches.epochs,
        steps=batches.steps,
        certain=True,
    )


def _dpo(lesson: Lesson, config: Config) -> PlannedStage:
    pairs = pairs_of(lesson, config)
    batches = dpo_batches(pairs, lesson.topic.id, config.dpo, config.run.seed)
    return PlannedStage(
        topic=lesson.topic.id,
        name="dpo",
        rows=len(pairs),
        held_out=0,
        rows_cut=lesson.cut_pairs,
        tokens=_trained([pair.chosen for pair in pairs] + [pair.rejected for pair in pairs]),
        epochs=batches.epochs,
        steps=batches.steps,
        certain=config.dpo.when == "always",
    )


def pairs_of(lesson: Lesson, config: Config) -> list[Pair]:
    """A lesson's preferences. Self-drawn pairs are counted as one a training row, the most that can
    be drawn, and both answers as long as the author's."""
    drawn = len(lesson.rows) if config.dpo.pairs != "file" else 0
    filed = list(lesson.pairs) if config.dpo.pairs != "self" else []
    return filed + [Pair(chosen=row, rejected=row) for row in lesson.rows[:drawn]]


def _trained(rows: Sequence[Row]) -> int:
    return sum(sum(row.mask) for row in rows)


def _retained(
    curriculum: Curriculum,
    lessons: Sequence[Lesson],
    config: Config,
    stages: Sequence[PlannedStage],
) -> int:
    """Questions asked again after each stage: of earlier topics, and the retention set."""
    mode, seed = config.eval.retention, config.run.seed
    if mode == "off":
        return 0
    total, so_far = len(curriculum.retention), 0
    for lesson in lessons:
        own = sum(stage.topic == lesson.topic.id for stage in stages)
        total += own * (so_far + len(curriculum.retention))
        so_far += len(retained(lesson.topic, mode, seed))
    return total


def _open(curriculum: Curriculum, config: Config, stages: Sequence[PlannedStage]) -> int:
    """Open prompts asked for the voice: of the base, of the few-shot baseline, after each stage."""
    few_shot = bool(examples(curriculum, config.eval.few_shot))
    return len(open_prompts(curriculum, config.eval.prompts)) * (1 + few_shot + len(stages))


def _longest(lessons: Sequence[Lesson]) -> int:
    """Tokens of the longest row that is trained or held out."""
    rows = [row for lesson in lessons for row in (*lesson.rows, *lesson.held_out)]
    rows += [row for one in lessons for pair in one.pairs for row in (pair.chosen, pair.rejected)]
    return max((len(row.ids) for row in rows), default=0)

"""The shape of `result.json`: the truth that every report renders."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

SCHEMA_VERSION = 1

StageName = Literal["base", "before", "sft", "dpo", "final"]
Status = Literal["running", "finished", "stopped"]
TopicStatus = Literal["pending", "running", "passed", "failed"]


class Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Score(Frozen):
    """A topic's quiz under one state of the model. All shares are in 0..1.

    `choice_accuracy` is the multiple-choice share right, corrected for chance; None without
    choices. `reasons` says in words why a score is 0 or an answer was struck.
    """

    accuracy: float
    voice: float
    degenerate: float
    questions: int
    choice_accuracy: float | None = None
    reasons: tuple[str, ...] = ()


class Answer(Frozen):
    """One answer of the model, as it was said."""

    text: str
    accuracy: float
    voice: float
    flags: tuple[str, ...] = ()
    reasons: tuple[str, ...] = ()


class Question(Frozen):
    """A quiz question with the answers given at each state that was evaluated."""

    question: str
    reference: str
    answers: dict[StageName, Answer] = Field(default_factory=dict)


class StageRecord(Frozen):
    """One stage as it was run. `curve`: (step, loss); `margins`: (step, mean margin), DPO only;
    `held_out_loss`: (epoch, loss), epochs from 1; `tokens`: all that went through the model."""

    name: Literal["sft", "dpo"]
    attempt: int
    steps: int
    epochs: int
    rows: int
    rows_cut: int
    tokens: int
    seconds: float
    tokens_per_second: float
    loss_first: float
    loss_last: float
    held_out_loss: tuple[tuple[int, float], ...] = ()
    note: str = ""
    kept_epoch: int | None = None
    skipped_steps: int = 0
    stopped: str = ""
    accepted: bool = True
    verdict: str = ""
    curve: tuple[tuple[int, float], ...] = ()
    margins: tuple[tuple[int, float], ...] = ()


class TopicRecord(Frozen):
    id: str
    title: str
    note: str = ""
    status: TopicStatus = "pending"
    verdict: str = ""
    attempts: int = 0
    scores: dict[StageName, Score] = Field(default_factory=dict)
    stages: tuple[StageRecord, ...] = ()
    questions: tuple[Question, ...] = ()


class Retained(Frozen):
    """The topic just learned, earlier ones and the retention set, asked the same questions after
    every topic. Keys are topic ids and `retention`."""

    after: str
    scores: dict[str, Score]


class ChoiceRecord(Frozen):
    key: str
    name: str
    because: str


class ModelRecord(Frozen):
    path: str
    revision: str | None
    id: str
    family: str
    parameters: int
    dtype: str
    device: str


class MemorySample(Frozen):
    """Bytes, after a stage. `device` figures are 0 on the CPU."""

    stage: str
    rss: int
    peak_rss: int
    device: int
    device_peak: int


class Timings(Frozen):
    """Seconds spent in each kind of work."""

    opening: float = 0.0
    training: float = 0.0
    evaluation: float = 0.0
    total: float = 0.0


class Result(Frozen):
    """One run. `config` maps a dotted key to (value, origin); `formats` and `hashes` map a file of
    the curriculum to its row format and its SHA-256."""

    schema_version: int = SCHEMA_VERSION
    mindprint: str
    status: Status
    verdict: str
    title: str
    author: str
    curriculum: str
    curriculum_note: str = ""
    model: ModelRecord
    choices: tuple[ChoiceRecord, ...]
    config: dict[str, tuple[str | int | float | bool | tuple[str, ...] | None, str]]
    topics: tuple[TopicRecord, ...]
    forgetting: tuple[Retained, ...] = ()
    retention_base: Score | None = None
    memory: tuple[MemorySample, ...] = ()
    timings: Timings = Timings()
    versions: dict[str, str]
    hashes: dict[str, str]
    formats: dict[str, str] = Field(default_factory=dict)
    notes: tuple[str, ...] = ()
    command: str = ""

"""The shape of `result.json`: the truth that every report renders."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from mindprint.report.kept import Retained, Transfer
from mindprint.report.scores import Difference, Figure, Frozen, Question, Score, StageName
from mindprint.report.spline import SplinesRecord
from mindprint.report.voice import Reading, VoiceRecord

SCHEMA_VERSION = 2

Status = Literal["running", "finished", "stopped"]
TopicStatus = Literal["pending", "running", "passed", "failed"]


class StageRecord(Frozen):
    """One stage as it was run. `curve`: (step, loss); `margins`: (step, mean margin), DPO only;
    `held_out_loss`: (epoch, loss), epochs from 1; `tokens`: all that went through the model;
    `stopped`: why it ended early; `failed`: why the whole topic is given up with it; the losses
    are None where no step could be taken; `splines`: of an LS-LoRA, as the stage left them."""

    name: Literal["sft", "dpo"]
    attempt: int
    steps: int
    epochs: int
    rows: int
    rows_cut: int
    tokens: int
    seconds: float
    tokens_per_second: float
    loss_first: float | None
    loss_last: float | None
    held_out_loss: tuple[tuple[int, float], ...] = ()
    note: str = ""
    kept_epoch: int | None = None
    skipped_steps: int = 0
    stopped: str = ""
    failed: str = ""
    accepted: bool = True
    verdict: str = ""
    curve: tuple[tuple[int, float], ...] = ()
    margins: tuple[tuple[int, float], ...] = ()
    splines: SplinesRecord | None = None


class DataRecord(Frozen):
    """A topic's data as it was read. `duplicates`: training rows that repeat an earlier one;
    `cut`: rows shortened to `sft.max_tokens`; `questions_seen`, `references_seen`: shares of the
    quiz's 8-word runs that stand in the training text. `dropped`: what was left out, and why."""

    rows: int
    held_out: int
    cut: int
    duplicates: int
    pairs: int
    pairs_cut: int
    quiz: int
    clusters: int
    questions_seen: float
    references_seen: float
    dropped: tuple[str, ...] = ()


class TopicRecord(Frozen):
    """One topic. `readings`: the open prompts at each state. `changes`: final minus base, paired;
    `clear`: those that hold after Holm's correction over all topics."""

    id: str
    title: str
    note: str = ""
    status: TopicStatus = "pending"
    verdict: str = ""
    attempts: int = 0
    data: DataRecord | None = None
    scores: dict[StageName, Score] = Field(default_factory=dict)
    readings: dict[StageName, Reading] = Field(default_factory=dict)
    changes: dict[Figure, Difference] = Field(default_factory=dict)
    clear: tuple[Figure, ...] = ()
    stages: tuple[StageRecord, ...] = ()
    questions: tuple[Question, ...] = ()


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
    threads: int = 0
    blas: str = ""


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
    """One run. `changes`: final minus base over the questions of all finished topics.

    `config` maps a dotted key to (value, origin); `formats` and `hashes` map a file of
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
    config: dict[
        str, tuple[str | int | float | bool | tuple[str, ...] | tuple[float, ...] | None, str]
    ]
    topics: tuple[TopicRecord, ...]
    changes: dict[Figure, Difference] = Field(default_factory=dict)
    voice: VoiceRecord | None = None
    forgetting: tuple[Retained, ...] = ()
    transfer: dict[Literal["accuracy", "markers", "degenerate"], Transfer] = Field(
        default_factory=dict
    )
    memory: tuple[MemorySample, ...] = ()
    expected_memory: dict[str, int] = Field(default_factory=dict)
    timings: Timings = Timings()
    versions: dict[str, str]
    hashes: dict[str, str]
    formats: dict[str, str] = Field(default_factory=dict)
    notes: tuple[str, ...] = ()
    command: str = ""

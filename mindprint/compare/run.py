"""A run folder as a comparison reads it: the result, the ledger, and every stage that was trained.

No model is opened.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from mindprint import engines
from mindprint import ledger as ledgers
from mindprint.checkpoints import under_way
from mindprint.compare.model import StageKind
from mindprint.disk.sealed import Damaged
from mindprint.dropped import judged_without
from mindprint.errors import ConfigError, DataError, Fault
from mindprint.inputs import FILE, Inputs, read_inputs
from mindprint.ledger import Ledger
from mindprint.report.files import RESULT, read_result
from mindprint.report.model import Result, StageRecord, TopicRecord
from mindprint.report.summary import choice
from mindprint.rundir import RunDir
from mindprint.stage_folder import STAGE, read_stage
from mindprint.topic_folder import stages_of

NATIVE = "native"


class Place(NamedTuple):
    """One stage of a run: attempts count from 0."""

    topic: str
    stage: StageKind
    attempt: int


@dataclass(frozen=True)
class Run:
    """One run that is compared. `stages`: all that were trained, in order, kept or not; one of
    them, `in_hand`, only as far as its newest checkpoint. `ledger` is None where it cannot be read,
    and `no_ledger` says why; `inputs` likewise, `no_inputs`. `notes`: what is to be said of the
    folder."""

    name: str
    path: Path
    result: Result
    stages: Mapping[Place, StageRecord]
    ledger: Ledger | None
    no_ledger: str = ""
    notes: tuple[str, ...] = ()
    inputs: Inputs | None = None
    no_inputs: str = "it holds no inputs"
    in_hand: Place | None = None

    @property
    def dropped(self) -> tuple[str, ...]:
        """Topics whose change was taken away: such a run was asked anew, and what it holds was
        trained by another."""
        return judged_without(self.inputs) if self.inputs is not None else ()

    @property
    def topics(self) -> tuple[TopicRecord, ...]:
        return self.result.topics

    def topic(self, name: str) -> TopicRecord | None:
        return next((topic for topic in self.topics if topic.id == name), None)

    def accepted(self, topic: str) -> list[Place]:
        """The stages of a finished topic that were kept."""
        record = self.topic(topic)
        stages = record.stages if record is not None else ()
        return [Place(topic, one.name, one.attempt) for one in stages if one.accepted]

    def value(self, key: str) -> object:
        """A setting, None where this run's mindprint did not know it."""
        found = self.result.config.get(key)
        return None if found is None else found[0]

    @property
    def engine(self) -> str:
        return str(self.value(engines.KEY) or NATIVE)

    @property
    def backend(self) -> str:
        """Those that trained its adapters, in order; the one that it was begun on before any."""
        trained = self.ledger.entries if self.ledger is not None else ()
        known = {topic.id for topic in self.topics}
        names = dict.fromkeys(entry.backend for entry in trained if entry.topic in known)
        return ", ".join(names) or choice(self.result, "backend")


def read_run(name: str, path: Path) -> Run:
    """Raises DataError when the folder holds no result that could be compared, Damaged when it is
    not as it was written."""
    ledger, no_ledger = _ledger(path)
    _check_trained(path, ledger)
    result = read_result(path)
    inputs, no_inputs = _inputs(path)
    stages, notes = _stages(path, result)
    notes = [*_state(name, result), *notes]
    if (path / FILE).is_file() and inputs is None:
        notes.append(f"how `{name}` began is not known: {no_inputs}")
    in_hand = _in_hand(path, result, stages)
    if in_hand is not None:
        stages[in_hand[0]] = in_hand[1]
    return Run(
        name,
        path,
        result,
        stages,
        ledger,
        no_ledger,
        tuple(notes),
        inputs,
        no_inputs,
        in_hand[0] if in_hand is not None else None,
    )


def _ledger(path: Path) -> tuple[Ledger | None, str]:
    """The ledger, or why there is none: the curves and scores can be compared without it."""
    try:
        return ledgers.read(RunDir(path)), ""
    except (ConfigError, DataError) as error:
        return None, error.what


def _inputs(path: Path) -> tuple[Inputs | None, str]:
    """What the run was begun with, or why that is not known."""
    try:
        return read_inputs(path), ""
    except (ConfigError, DataError) as error:
        return None, error.what


def _check_trained(path: Path, ledger: Ledger | None) -> None:
    if (path / RESULT).is_file() or ledger is None or not ledger.entries:
        return
    if all(entry.stage == "adopted" for entry in ledger.entries):
        what = "the run holds an adopted adapter and trained nothing, so it has nothing to compare"
        over = f"`mindprint train CURRICULUM --from {shlex.quote(str(path))}`"
        hint = f"{over} trains over it, and that run can be compared"
        raise DataError(what, [Fault(str(path), 0, what)], hint=hint)


def _state(name: str, result: Result) -> Iterator[str]:
    done = sum(topic.status in ("passed", "failed") for topic in result.topics)
    if result.status != "finished":
        how = "was stopped" if result.status == "stopped" else "is not finished"
        yield f"`{name}` {how}: {done} of {len(result.topics)} topics are compared to their end"


def _stages(path: Path, result: Result) -> tuple[dict[Place, StageRecord], list[str]]:
    """Stages by place, and what is to be said of those that cannot be read. A topic that is not
    finished has its stages on disk alone."""
    found: dict[Place, StageRecord] = {}
    notes: list[str] = []
    for topic in result.topics:
        records = list(topic.stages)
        if not records:
            records, odd = _on_disk(RunDir(path).topic(topic.id))
            notes += odd
        for record in records:
            found[Place(topic.id, record.name, record.attempt)] = record
    return found, notes


def _in_hand(
    path: Path, result: Result, stages: Mapping[Place, StageRecord]
) -> tuple[Place, StageRecord] | None:
    """The stage that a run was stopped in, as far as its newest whole checkpoint has it."""
    found = under_way(RunDir(path)) if result.status != "finished" else None
    if found is None or found.stage not in ("sft", "dpo"):
        return None
    place = Place(found.topic, "sft" if found.stage == "sft" else "dpo", found.attempt)
    if place in stages or place.topic not in {topic.id for topic in result.topics}:
        return None
    done = found.progress
    losses = [loss for _, loss in done.curve]
    record = StageRecord(
        name=place.stage,
        attempt=place.attempt,
        steps=done.step,
        epochs=0,
        rows=0,
        rows_cut=0,
        tokens=done.tokens,
        seconds=done.seconds,
        tokens_per_second=done.tokens / done.seconds if done.seconds else 0.0,
        loss_first=losses[0] if losses else None,
        loss_last=losses[-1] if losses else None,
        skipped_steps=done.skipped,
        curve=tuple(done.curve),
        margins=tuple(done.margins),
    )
    return place, record


def _on_disk(folder: Path) -> tuple[list[StageRecord], list[str]]:
    records: list[StageRecord] = []
    notes: list[str] = []
    for stage in stages_of(folder):
        if not (stage / STAGE).is_file():
            continue
        try:
            records.append(read_stage(stage))
        except Damaged as error:
            notes.append(f"{stage.name} of `{folder.name}` is left out: {error.what}")
    return records, notes

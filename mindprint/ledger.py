"""The ledger: the model is the base plus the accepted entries that no later entry replaces."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from backends.contract import Session
from mindprint.disk.sealed import adapter_digest, read_json, write_json
from mindprint.errors import ConfigError, StageError
from mindprint.inputs import Inputs
from mindprint.report.scores import Score
from mindprint.rundir import RunDir

SCHEMA_VERSION = 1
LEDGER = "ledger.json"

Handoff = Literal["stack", "merge", "continue"]
EntryStage = Literal["sft", "dpo", "adopted", "difference"]
"""`adopted`: trained by others. `difference`: what a topic changed in the one adapter of all
topics, worked out where an earlier topic was dropped."""
Kind = Literal["lora", "dora", "lslora"]
State = Literal["in force", "replaced", "rolled back"]


class Entry(BaseModel):
    """One adapter. `folder` is relative to the run; `replaces` is an earlier entry's `name`;
    `sha256` covers the adapter's files; `before`, `after`: None where nothing was asked of the
    model. No clock, so that equal runs give equal bytes."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    name: str
    topic: str
    stage: EntryStage
    kind: Kind
    rank: int
    alpha: float
    scaling: Literal["standard", "rslora"]
    folder: str
    sha256: str
    replaces: str | None
    backend: str
    before: Score | None
    after: Score | None
    accepted: bool
    verdict: str


class Ledger(BaseModel):
    """Entries in the order they were made, accepted or rolled back."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    schema_version: int = SCHEMA_VERSION
    model_id: str
    handoff: Handoff
    entries: tuple[Entry, ...] = ()

    def with_entry(self, entry: Entry) -> Ledger:
        """An entry that is there already, made again on whichever backend, changes nothing.

        Raises StageError when it is there and another, or `replaces` names nothing that acts.
        """
        known = next((one for one in self.entries if one.name == entry.name), None)
        if known is not None:
            _check_equal(known, entry)
            return self
        acting = {known.name for known in self.acting()}
        if entry.accepted and entry.replaces is not None and entry.replaces not in acting:
            raise StageError(f"`{entry.replaces}` is not in force", where=LEDGER)
        return self.model_copy(update={"entries": (*self.entries, entry)})

    def acting(self, until: str | None = None) -> tuple[Entry, ...]:
        """Accepted entries that no later accepted one replaces, in order; with `until`, as of the
        end of that topic."""
        return _in_force(self.upto(until))

    def upto(self, until: str | None) -> tuple[Entry, ...]:
        """All entries, or those up to the end of a topic. Raises ConfigError for one that is not
        there."""
        if until is None:
            return self.entries
        ends = [place for place, entry in enumerate(self.entries) if entry.topic == until]
        if not ends:
            known = ", ".join(dict.fromkeys(entry.topic for entry in self.entries))
            raise ConfigError(
                f"the ledger has no topic `{until}`", where="--until", hint=f"it has: {known}"
            )
        return self.entries[: ends[-1] + 1]

    def lineage(self, entry: Entry) -> tuple[Entry, ...]:
        """The entry and all that it replaced, oldest first: under `continue` it carries the topics
        of all of them."""
        named = {one.name: one for one in self.entries}
        found = [entry]
        while found[-1].replaces in named:
            found.append(named[found[-1].replaces])
        return tuple(reversed(found))

    def carrier(self, topic: str) -> Entry | None:
        """The last entry in force that carries what a topic changed."""
        for entry in reversed(self.acting()):
            if any(one.topic == topic for one in self.lineage(entry)):
                return entry
        return None

    def states(self) -> tuple[State, ...]:
        """What has become of each entry, in their order."""
        acting = {entry.name for entry in self.acting()}
        return tuple(
            "in force" if one.name in acting else "replaced" if one.accepted else "rolled back"
            for one in self.entries
        )

    def of(self, topic: str) -> tuple[Entry, ...]:
        """What a topic made, accepted or not."""
        return tuple(entry for entry in self.entries if entry.topic == topic)

    def before(self, topic: str) -> Ledger:
        """As it stood when the topic began."""
        places = [place for place, entry in enumerate(self.entries) if entry.topic == topic]
        kept = self.entries[: places[0]] if places else self.entries
        return self.model_copy(update={"entries": kept})

    def needed(self, topic: str, *, replayed: bool) -> tuple[Entry, ...]:
        """The topic's entries whose adapters a run that goes on loads: those in force; all that it
        left, where topics are `replayed` over what stood then."""
        left = self.left_by(topic)
        if replayed:
            return left
        acting = {entry.name for entry in self.acting()}
        return tuple(entry for entry in left if entry.name in acting)

    def left_by(self, topic: str) -> tuple[Entry, ...]:
        """What a topic's own stages left in force, whatever came after it."""
        return _in_force(self.of(topic))


def _check_equal(known: Entry, made: Entry) -> None:
    """Raises StageError naming what differs; which backend made it may."""
    before, after = known.model_dump(), made.model_dump()
    odd = [name for name in before if name != "backend" and before[name] != after[name]]
    if odd:
        raise StageError(
            f"`{made.name}` is not what the ledger holds by that name: {', '.join(odd)}",
            where=LEDGER,
            hint="a topic that is gone through again must come out as it did: put back a copy of "
            "its `record.json`, or go on in a new run with `mindprint resume RUN --fork NEW`",
        )


def _in_force(entries: Sequence[Entry]) -> tuple[Entry, ...]:
    accepted = [entry for entry in entries if entry.accepted]
    replaced = {entry.replaces for entry in accepted}
    return tuple(entry for entry in accepted if entry.name not in replaced)


def read(run: RunDir) -> Ledger:
    where = run.path / LEDGER
    tree: Any = read_json(where)
    if not isinstance(tree, dict) or tree.get("schema_version") != SCHEMA_VERSION:
        raise ConfigError("not a ledger that this version can read", where=str(where))
    return Ledger.model_validate(tree)


def write(run: RunDir, ledger: Ledger) -> None:
    write_json(run.path / LEDGER, ledger.model_dump(mode="json"))


def attach(session: Session, run: RunDir, until: str | None = None) -> tuple[str, ...]:
    """Load the entries in force as the frozen past, each checked against its SHA-256.

    Returns their names. Raises ConfigError when the model is not the one the run was made on, or
    a file is not the one that was written.
    """
    ledger = read(run)
    check_model(ledger, session, run)
    for entry in ledger.acting(until):
        folder = verified(run, entry)
        session.adapters.load(folder, entry.name, frozen=True)
    return session.adapters.active()


def check_model(ledger: Ledger, session: Session, run: RunDir) -> None:
    """Raises ConfigError when the session's model is not the one the ledger was made on."""
    if ledger.model_id != session.model_id:
        raise ConfigError(
            "this is not the model that the run was made on",
            where=f"{run.path / LEDGER}: model_id {ledger.model_id[:12]}",
            hint=f"the model given hashes to {session.model_id[:12]}{_packed(session)}",
        )


def check_packed(inputs: Inputs, chosen: str) -> None:
    """Before any weight is read, what `check_model` would find after: each backend packs weights
    its own way. Raises ConfigError for another backend than the one that packed the run's."""
    made_on = inputs.backend
    if inputs.begun().config.model.quantization != "none" and chosen != made_on:
        raise ConfigError(
            f"the run's base is quantized as {made_on} does it, and on {chosen} it is another "
            "model",
            where="--backend",
            hint=f"use `--backend {made_on}`",
        )


def _packed(session: Session) -> str:
    """What may tell two models of the same files apart."""
    kind = session.info.quantization
    if kind == "none":
        return ""
    return f" as this backend opens it ({kind}); each backend's packed weights are its own"


def verified(run: RunDir, entry: Entry) -> Path:
    """The folder of an entry, its bytes those that were written."""
    folder = run.path / entry.folder
    try:
        found = adapter_digest(folder)
    except OSError as error:
        raise ConfigError(f"an adapter is missing: {error}", where=str(folder)) from error
    if found != entry.sha256:
        raise ConfigError(
            "an adapter is not the one that was written",
            where=str(folder),
            hint=f"the ledger says {entry.sha256[:12]}, the files hash to {found[:12]}",
        )
    return folder

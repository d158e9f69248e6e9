"""How the past is carried while later topics train: stacked, merged, or trained on."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from backends.contract import AdapterManager, Session
from backends.errors import MergeRefused
from mindprint import guards
from mindprint import ledger as ledgers
from mindprint.config import Config
from mindprint.errors import StageError
from mindprint.events import Event, Listener
from mindprint.handoff import handoff_of
from mindprint.ledger import Entry, Handoff, Ledger
from mindprint.rundir import RunDir


def resolve_handoff(config: Config, session: Session, past: Sequence[Entry] = ()) -> Handoff:
    """`auto` settled for the opened weights and the adapters that the run begins with."""
    info = session.info
    return handoff_of(config, info.dtype, info.quantization, [entry.kind for entry in past])


class Handing:
    """Makes a topic's adapters the past, as the topic ends or when a run goes on after it."""

    def __init__(
        self, session: Session, config: Config, run: RunDir, handoff: Handoff, listen: Listener
    ) -> None:
        self._session, self._adapters = session, session.adapters
        self._config, self._run = config, run
        self._handoff = handoff
        self._listen = listen

    def attach(self, entries: Sequence[Entry]) -> None:
        """One topic's entries, from its folder.

        Raises ConfigError when a file is not the one that was written, StageError when more or
        less would train than should.
        """
        for entry in entries:
            folder = ledgers.verified(self._run, entry)
            if self._handoff == "continue":
                _unload_training(self._adapters)
                self._adapters.load(folder, entry.name)
                guards.audit(self._session, entry.name)
            else:
                self._load_frozen(folder, entry.name)
        if entries and self._handoff == "merge":
            self._merge(entries[0].topic)

    def begin_with(self, past: Sequence[Entry], ledger: Ledger, *, replayed: bool) -> None:
        """The adapters of another run, before the first topic: frozen, but for the last one under
        `continue`, which is trained on. `replayed`: as for `Ledger.needed`. Raises as `attach`."""
        frozen = past[:-1] if self._handoff == "continue" else ()
        for entry in frozen:
            self._load_frozen(ledgers.verified(self._run, entry), entry.name)
        for topic in dict.fromkeys(entry.topic for entry in past):
            wanted = ledger.needed(topic, replayed=replayed)
            self.attach([entry for entry in wanted if entry not in frozen])

    def _load_frozen(self, folder: Path, name: str) -> None:
        self._adapters.load(folder, name, frozen=True)
        check_nothing_trains(self._session, name)

    def over(self, entries: Sequence[Entry]) -> None:
        """The topic that is attached, and has just ended, with all the entries it made."""
        if not any(entry.accepted for entry in entries) or self._handoff == "continue":
            return
        if self._handoff == "stack":
            self._freeze()
        else:
            self._merge(entries[0].topic)

    def _freeze(self) -> None:
        """The adapter that trains joins the frozen past."""
        if self._adapters.trainable():
            self._adapters.freeze(self._adapters.active()[-1])

    def _merge(self, topic: str) -> None:
        """Fold what is attached into the weights; under `auto`, a merge that would lose too much
        leaves it stacked, aloud, and the next topic's merge tries both together."""
        try:
            report = self._adapters.merge_and_unload()
            text = f"merged into {report.layers} layers, {report.lost:.1e} of the effect lost"
        except MergeRefused as error:
            if self._config.handoff != "auto":
                raise StageError(
                    f"the topic's adapter cannot be merged: {error.what}",
                    where="handoff",
                    hint="start a run with `--set handoff=stack`, which keeps adapters exact",
                ) from error
            self._freeze()
            text = f"stacked instead of merged: {error.what}"
        self._listen(Event("notice", topic, data={"text": text}))


def check_nothing_trains(session: Session, where: str) -> None:
    """The past is frozen. Raises StageError."""
    training = sorted(session.adapters.trainable())
    if training:
        raise StageError(
            f"{len(training)} tensors of the past would be trained, such as `{training[0]}`",
            where=where,
            hint="an adapter of an earlier topic is loaded frozen; this is a fault of the backend",
        )


def _unload_training(adapters: AdapterManager) -> None:
    """What trains is replaced by what comes; what is frozen below it stays."""
    if adapters.trainable():
        adapters.unload(adapters.active()[-1])

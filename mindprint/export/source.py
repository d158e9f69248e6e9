"""What is exported: a run's adapters in force, over the base they were made on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from backends import model_files, peft_files
from backends.chain import Held
from backends.errors import ModelError
from mindprint import ledger as ledgers
from mindprint.errors import ConfigError
from mindprint.inputs import Inputs, read_inputs
from mindprint.ledger import Entry, Ledger
from mindprint.rundir import RunDir
from mindprint.sameness import MODEL, Difference, Differs


@dataclass(frozen=True)
class Source:
    """A run read and checked, with no weight loaded. `entries` are those whose changes are
    exported, in order, their files those that were written; `base` is the folder of the model."""

    run: RunDir
    inputs: Inputs
    ledger: Ledger
    entries: tuple[Entry, ...]
    base: Path
    until: str | None
    without: tuple[str, ...]

    @classmethod
    def find(
        cls, run: Path, *, until: str | None, without: Sequence[str], model: str | None
    ) -> Source:
        """`until`: the last topic taken; `without`: topics left out; `model`: where the base lies
        now. Raises ConfigError, ModelError, Differs or Damaged."""
        inputs, held = read_inputs(run), RunDir.open(run)
        ledger = ledgers.read(held)
        entries = chosen(ledger, until, without)
        for entry in entries:
            ledgers.verified(held, entry)
        base = _base(run, inputs, ledger, model)
        return cls(held, inputs, ledger, entries, base, until, tuple(without))

    @property
    def topics(self) -> tuple[str, ...]:
        """Those whose adapters are exported, in order."""
        return tuple(dict.fromkeys(entry.topic for entry in self.entries))

    def adapters(self) -> list[Held]:
        """The entries' specs and tensors, in order."""
        return [peft_files.read(self.run.path / entry.folder) for entry in self.entries]


def chosen(ledger: Ledger, until: str | None, without: Sequence[str]) -> tuple[Entry, ...]:
    """The entries in force whose changes are wanted. Raises ConfigError for a topic that is not
    there, and where nothing is left."""
    acting = ledger.acting(until)
    topics = list(dict.fromkeys(entry.topic for entry in acting))
    carried = [{one.topic for one in ledger.lineage(entry)} for entry in acting]
    for topic in without:
        if any(topic in several and len(several) > 1 for several in carried):
            raise ConfigError(
                "under `handoff: continue` one adapter carries all topics, and none can be left "
                "out",
                where="--without",
                hint="`mindprint drop RUN TOPIC --out NEW` makes a run without it, which exports",
            )
        if topic not in topics:
            raise ConfigError(
                f"no adapter of a topic `{topic}` is in force",
                where="--without",
                hint=f"in force are those of: {', '.join(topics) or 'none'}",
            )
    kept = tuple(entry for entry in acting if entry.topic not in without)
    if not kept:
        raise ConfigError(
            "no adapter is in force, so there is nothing to export",
            where=ledgers.LEDGER,
            hint="`mindprint ledger RUN` lists what was accepted and what was rolled back",
        )
    return kept


def _base(run: Path, inputs: Inputs, ledger: Ledger, model: str | None) -> Path:
    given = model or inputs.model
    try:
        folder = model_files.resolve(given, None if model else inputs.begun().config.model.revision)
    except ModelError as error:
        hint = "name where it lies now with `--model PATH`"
        raise ModelError(error.what, where=error.where, hint=error.hint or hint) from error
    asked = inputs.begun().config.model.quantization
    found = model_files.model_id(folder, asked, inputs.backend)
    if found != ledger.model_id:
        hint = "a run's adapters belong to the model they were made on"
        raise Differs(run, [Difference(MODEL, ledger.model_id[:12], found[:12])], hint)
    return folder

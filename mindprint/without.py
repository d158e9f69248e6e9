"""A run's ledger without one topic: what is left out, and what is worked out anew."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path

from backends import peft_files
from backends.chain import Held, Rows
from mindprint import ledger as ledgers
from mindprint.boundary import finished
from mindprint.difference import WHERE, Way, check_straight
from mindprint.disk.sealed import adapter_digest, file_hash
from mindprint.errors import ConfigError
from mindprint.export.tensors import rows_of
from mindprint.footprint import read_sizes
from mindprint.heritage import Kept
from mindprint.inputs import Inputs, Origin, read_inputs
from mindprint.ledger import LEDGER, Entry, Ledger
from mindprint.report.model import Result
from mindprint.rundir import RunDir
from mindprint.stage_folder import lay_bare
from mindprint.topic_folder import stages_of


@dataclass(frozen=True)
class Step:
    """What one topic changed in the one adapter of several: `after` less `before`."""

    before: Entry
    after: Entry

    @property
    def folder(self) -> str:
        """Where its adapter is to lie, relative to the run."""
        return f"topics/{self.after.topic}/difference"

    def write(self, place: RunDir, made: Held, base: Path, called: str) -> Entry:
        """Its adapter `made` into the run folder `place`. `base`: the folder of the model."""
        spec, held = made
        folder, linears = place.path / self.folder, read_sizes(base).linears
        peft_files.write(folder, spec, held, base=called, linears=linears)
        changed = {
            "name": f"{self.after.topic}:difference",
            "stage": "difference",
            "kind": spec.kind,
            "rank": spec.rank,
            "alpha": spec.alpha,
            "scaling": spec.scaling,
            "folder": self.folder,
            "sha256": adapter_digest(folder),
            "replaces": None,
            "before": None,
            "after": None,
            "verdict": f"{self.after.name} less {self.before.name}",
        }
        return self.after.model_copy(update=changed)


@dataclass(frozen=True)
class Without:
    """A finished run and the topic that goes. `topics`: those of the run that stay; `ledger`: the
    entries that stay as they are; `steps`: those that take the place of the rest; `below`: the
    entries that act below the adapter that carried the topic, which went through the states
    `chain`; `tainted`: topics whose stages trained an adapter that carried the one that goes."""

    run: RunDir
    inputs: Inputs
    result: Result
    dropped: str
    topics: tuple[str, ...]
    ledger: Ledger
    steps: tuple[Step, ...]
    below: tuple[Entry, ...]
    chain: tuple[Entry, ...]
    tainted: tuple[str, ...]
    began_with: Kept
    origin: Origin

    @classmethod
    def of(cls, path: Path, topic: str) -> Without:
        """Every adapter that is needed is checked against its SHA-256. Raises ConfigError when
        the topic cannot go, or the run is not finished; Damaged."""
        inputs, run = read_inputs(path), RunDir(path)
        began_with = Kept.of(run)
        known = _ledger(path, inputs, topic)
        result = _finished(run, inputs)
        carrier = known.carrier(topic)
        if carrier is None:
            raise ConfigError(
                f"nothing of `{topic}` is in force: it was rolled back",
                where=WHERE,
                hint=f"`mindprint ledger {shlex.quote(str(path))}` says why",
            )
        chain = _by_topic(known, carrier)
        _check_left(path, inputs, topic, known, chain)
        _check_alone(inputs, began_with, topic)
        acting = known.acting()
        for entry in (*acting, *chain):
            ledgers.verified(run, entry)
        place = [entry.topic for entry in chain].index(topic)
        if place + 1 < len(chain):
            check_straight(run, chain[max(0, place - 1) :])
        steps = tuple(Step(chain[at - 1], chain[at]) for at in range(place + 1, len(chain)))
        others = [entry for entry in known.entries if entry.topic != topic]
        tainted = [entry for entry in others if _carries(known, entry, topic)]
        kept = tuple(entry for entry in others if not (entry.accepted and entry in tainted))
        handoff = "stack" if len(chain) > 1 else known.handoff
        origin = Origin(run=str(path.resolve()), ledger=file_hash(path / LEDGER), topics=(topic,))
        return cls(
            run=run,
            inputs=inputs,
            result=result,
            dropped=topic,
            topics=tuple(one for one in inputs.topics if one != topic),
            ledger=known.model_copy(update={"entries": kept, "handoff": handoff}),
            steps=steps,
            below=acting[: acting.index(carrier)],
            chain=chain,
            tainted=tuple(dict.fromkeys(entry.topic for entry in tainted)),
            began_with=_without(began_with, topic),
            origin=origin,
        )

    @property
    def size(self) -> int:
        """Bytes of the adapters that are worked out anew: each as large as the files that it is put
        together from."""
        shared = (*self.below, *self.chain) if self.scales else ()
        parts = [one for s in self.steps for one in (s.before, s.after, *shared)]
        folders = [self.run.path / one.folder for one in parts]
        return sum((folder / peft_files.WEIGHTS).stat().st_size for folder in folders)

    @property
    def scales(self) -> bool:
        """Whether what is worked out anew scales the base's weights, and goes by them."""
        return any(step.after.kind == "dora" for step in self.steps)

    def lay_bare(self, place: RunDir) -> None:
        """Take away from the copied stages, rolled-back ones too, the adapters that carry what was
        dropped."""
        kept = {place.path / entry.folder for entry in self.ledger.acting()}
        for topic in self.tainted:
            for stage in stages_of(place.topic(topic)):
                if stage not in kept:
                    lay_bare(stage)

    def write_ledger(self, place: RunDir, base: Path, rows: Rows | None = None) -> Ledger:
        """The new ledger, and the adapters that it needs beside those that were copied. `base`: the
        folder of the model; `rows`: of the weights that it computes with, its files' unless given.
        """
        rows = rows_of(base) if rows is None else rows
        made = {
            step.after.topic: step.write(
                place, self._way(step).adapter(rows), base, self.inputs.called
            )
            for step in self.steps
        }
        order = list(dict.fromkeys(entry.topic for entry in ledgers.read(self.run).entries))
        entries = list(self.ledger.entries)
        for topic, entry in made.items():
            later = order[order.index(topic) + 1 :]
            at = next((n for n, one in enumerate(entries) if one.topic in later), len(entries))
            entries.insert(at, entry)
        ledger = self.ledger.model_copy(update={"entries": tuple(entries)})
        ledgers.write(place, ledger)
        return ledger

    def _way(self, step: Step) -> Way:
        """How the adapter came to a later topic's."""
        at = [entry.topic for entry in self.chain].index(self.dropped)
        kept = self._held(self.chain[at - 1]) if at else None
        below = tuple(self._held(entry) for entry in self.below)
        dropped, before, after = map(self._held, (self.chain[at], step.before, step.after))
        return Way(below, kept, dropped, before, after)

    def _held(self, entry: Entry) -> Held:
        return peft_files.read(self.run.path / entry.folder)


def _ledger(path: Path, inputs: Inputs, topic: str) -> Ledger:
    """Raises ConfigError where there is none, or it knows no such topic."""
    if not (path / LEDGER).is_file():
        raise _unfinished(path)
    known = ledgers.read(RunDir(path))
    topics = list(dict.fromkeys((*(entry.topic for entry in known.entries), *inputs.topics)))
    if topic not in topics:
        what = f"the run has no topic `{topic}`"
        raise ConfigError(what, where=WHERE, hint=f"it has: {', '.join(topics)}")
    return known


def _finished(run: RunDir, inputs: Inputs) -> Result:
    if inputs.adopted:
        raise ConfigError(
            "an adopted adapter is all there is to its run: without it the model is the base",
            where=str(run.path),
            hint="use the base itself",
        )
    result = finished(run, inputs.topics)
    if result is None:
        raise _unfinished(run.path)
    return result


def _unfinished(path: Path) -> ConfigError:
    run = shlex.quote(str(path))
    return ConfigError(
        "the run is not finished, and a topic is dropped from a whole one",
        where=str(path),
        hint=f"finish it with `mindprint resume {run}`, or take its finished topics with "
        f"`mindprint resume {run} --fork NEW --until TOPIC`",
    )


def _by_topic(ledger: Ledger, carrier: Entry) -> tuple[Entry, ...]:
    """The adapter as each topic that it carries left it, in order."""
    last = {entry.topic: entry for entry in ledger.lineage(carrier)}
    return tuple(last.values())


def _check_left(
    path: Path, inputs: Inputs, topic: str, ledger: Ledger, chain: tuple[Entry, ...]
) -> None:
    """Raises ConfigError when nothing would be left of the model, or of the run."""
    others = [entry for entry in ledger.acting() if entry.topic != topic]
    if not others and len(chain) == 1:
        raise ConfigError(
            f"`{topic}` is the only topic in force: without it the model is the base",
            where=WHERE,
            hint="use the base itself, or train anew with `mindprint train`",
        )
    if tuple(inputs.topics) == (topic,):
        began = inputs.began_with.run if inputs.began_with is not None else str(path)
        raise ConfigError(
            f"`{topic}` is the run's only topic of its own",
            where=WHERE,
            hint=f"the model without it is the one that the run began with: {began}",
        )


def _check_alone(inputs: Inputs, began_with: Kept, topic: str) -> None:
    """Raises ConfigError for an adapter of another run that carries several topics."""
    if topic not in began_with.topics or inputs.began_with is None:
        return
    more = [one for one in inputs.began_with.topics if one not in began_with.topics]
    if more:
        raise ConfigError(
            f"the adapter of `{topic}` may carry other topics as well: {', '.join(more)}",
            where=WHERE,
            hint=f"drop it in the run it is of, {inputs.began_with.run}, and train over that",
        )


def _carries(ledger: Ledger, entry: Entry, topic: str) -> bool:
    """Whether the entry's adapter was the topic's, or trained on from it."""
    return any(one.topic == topic for one in ledger.lineage(entry))


def _without(began_with: Kept, topic: str) -> Kept:
    entries = tuple(entry for entry in began_with.entries if entry.topic != topic)
    return Kept(began_with.model_id, entries)

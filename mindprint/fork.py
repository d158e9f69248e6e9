"""A new run that begins with what another one has accepted."""

from __future__ import annotations

import shutil
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from mindprint import ledger as ledgers
from mindprint.adapter import SPLINE
from mindprint.config import Config
from mindprint.disk.sealed import Damaged, adapter_digest, file_hash, read_json, write_json
from mindprint.disk.whole import is_leftover, write_new_folder
from mindprint.errors import ConfigError
from mindprint.events import Event
from mindprint.finished import FINAL, RECORD, Finished, joined, read_finished
from mindprint.heritage import Kept, check_merge
from mindprint.inputs import Inputs, Origin, write_inputs
from mindprint.ledger import LEDGER, Entry, Handoff, Ledger
from mindprint.rundir import PAST, RunDir
from mindprint.sameness import Difference, differences_of_evaluation
from mindprint.stage_folder import is_bare
from mindprint.topic_folder import KEPT, odd_adapter

_OWN_ADAPTER = ("kind", "rank", "alpha", "targets", "scaling", "dropout", *SPLINE)


@dataclass(frozen=True)
class Past:
    """The finished topics of a run, in its order, and their entries in its ledger, after those of
    the adapters that the run began with."""

    run: RunDir
    ledger: Ledger
    origin: Origin
    began_with: Kept

    @classmethod
    def of(cls, run: RunDir, order: Sequence[str], until: str | None) -> Past:
        """`order`: the run's topics; `until`: the last that is wanted. Every adapter that acts is
        checked against its SHA-256.

        Raises ConfigError for an unfinished `until`, Damaged naming a file that is not whole.
        """
        finished = _finished(run, order, until)
        began_with = Kept.of(run)
        ledger = _ledger(run, finished, began_with)
        where = run.path / LEDGER
        origin = Origin(
            run=str(run.path.resolve()),
            ledger=file_hash(where) if finished else "",
            topics=tuple(finished),
        )
        past = cls(run, ledger, origin, began_with)
        for entry in past.acting():
            past._check(entry, run.path / entry.folder)
        return past

    @property
    def topics(self) -> tuple[str, ...]:
        return self.origin.topics

    def acting(self) -> tuple[Entry, ...]:
        """What is attached on the way: what the run began with, then topic after topic."""
        own = (entry for topic in self.topics for entry in self.ledger.left_by(topic))
        return (*self.began_with.entries, *own)

    def under(self, config: Config, topics: Sequence[str]) -> Past:
        """The same past, to be gone on from with these settings and a plan of these topics.

        Raises ConfigError when they do not go together.
        """
        if tuple(topics[: len(self.topics)]) != self.topics:
            raise ConfigError(
                f"the finished topics must come first, in their order: {', '.join(self.topics)}",
                where="--fork",
                hint=f"the new run's topics are: {', '.join(topics)}; `--until TOPIC` takes fewer",
            )
        if not self.topics:
            return self
        check_merge(config, self.acting(), "--fork")
        handoff = _handoff(config, self.ledger.handoff)
        ledger = self.ledger.model_copy(update={"handoff": handoff})
        return replace(self, ledger=ledger)

    def copy(self, place: Path, inputs: Inputs, comparable: bool) -> tuple[str, ...]:
        """A run folder at `place`, whole or not at all. `comparable`: what was asked of the model
        may stand beside what will be asked; else it is left out. Returns what is to be said.

        Raises NoRoom, or Damaged when a file changes on the way.
        """
        said = [self._said()]

        def fill(folder: Path) -> None:
            new = RunDir(folder)
            said.extend(self.lay_out(folder, comparable))
            if self.topics:
                ledgers.write(new, self.ledger)
            new.record(Event("notice", data={"text": self._said()}))
            write_inputs(folder, inputs)

        write_new_folder(place, fill, self.size(comparable))
        return tuple(said)

    def lay_out(self, folder: Path, comparable: bool) -> tuple[str, ...]:
        """Copy the topics, what the run began with and, if `comparable`, what was asked of its
        base. Returns what is to be said. Raises Damaged when a file changes on the way."""
        for source in self._sources(comparable):
            self._take(source, folder / source.relative_to(self.run.path), comparable)
        return tuple(self._checked(folder))

    def size(self, comparable: bool) -> int:
        """Bytes of all that `lay_out` copies."""
        return sum(_size(source) for source in self._sources(comparable))

    def _sources(self, comparable: bool) -> list[Path]:
        sources = [self.run.topic(topic) for topic in self.topics]
        base, past = self.run.path / "base", self.run.path / PAST
        if comparable and base.is_dir() and self.topics:
            sources.append(base)
        if self.began_with.entries:
            sources.append(past)
        return sources

    def _take(self, source: Path, target: Path, comparable: bool) -> None:
        def left_out(folder: str, names: list[str]) -> set[str]:
            unasked = set() if comparable else {FINAL, KEPT}
            return {name for name in names if is_leftover(Path(name)) or name in unasked}

        shutil.copytree(source, target, ignore=left_out)
        _let_write(target)
        if not comparable and (target / RECORD).is_file():
            write_json(target / RECORD, {**read_json(target / RECORD), "retained": []})

    def _checked(self, folder: Path) -> list[str]:
        """Every adapter that was copied has its hash; one that was rolled back may have lost it."""
        needed = {entry.name for entry in self.acting()}
        said = []
        for entry in self.ledger.entries:
            if entry.name in needed:
                self._check(entry, folder / entry.folder)
            elif not _whole(entry, folder / entry.folder) and not is_bare(folder / entry.folder):
                said.append(
                    f"{entry.folder} is not as it was written; it was rolled back, and nothing "
                    "reads it"
                )
        return said

    def _check(self, entry: Entry, folder: Path) -> None:
        if _whole(entry, folder):
            return
        known = entry.topic in self.topics
        earlier = self.topics[: self.topics.index(entry.topic)] if known else ()
        hint = f"put back a copy of the file{_earlier(earlier)}"
        raise Damaged(odd_adapter(folder), "its hash is not the ledger's", hint=hint)

    def _said(self) -> str:
        if not self.topics:
            return f"forked from {self.origin.run}, which has no finished topic: all is to be done"
        return f"forked from {self.origin.run} after `{self.topics[-1]}`"


def incomparable(then: Inputs, now: Inputs) -> tuple[str, ...]:
    """What is to be said of answers that cannot stand beside new ones: why they are left out."""
    found: list[Difference] = differences_of_evaluation(then, now)
    if not found:
        return ()
    why = ", ".join(one.what for one in found[:4]) + (", ..." if len(found) > 4 else "")
    return (f"what was asked of the model is left out and asked again: not the same: {why}",)


def check_adapters(past: Past, then: Config, now: Config) -> None:
    """Raises ConfigError when one adapter for all topics would change its shape on the way."""
    if past.ledger.handoff != "continue" or not past.topics:
        return
    odd = [n for n in _OWN_ADAPTER if getattr(then.adapter, n) != getattr(now.adapter, n)]
    if odd:
        raise ConfigError(
            "under `handoff: continue` one adapter is trained on, and keeps its shape",
            where=", ".join(f"adapter.{name}" for name in odd),
            hint="leave it as it was, or start a new run with `mindprint train`",
        )


def _finished(run: RunDir, order: Sequence[str], until: str | None) -> dict[str, Finished]:
    """The topics that lead the run and have a record, none after `until`."""
    found: dict[str, Finished] = {}
    for topic in order:
        if until in found or not (run.topic(topic) / RECORD).is_file():
            break
        try:
            found[topic] = read_finished(run.topic(topic))
        except Damaged as error:
            hint = f"`mindprint resume {run.path}` mends it where it can{_earlier(tuple(found))}"
            raise Damaged(run.topic(topic) / RECORD, error.what, hint=hint) from error
    if until is not None and until not in found:
        raise ConfigError(
            f"the run has no finished topic `{until}`",
            where="--until",
            hint=f"it has finished: {', '.join(found) or 'none'}",
        )
    return found


def _ledger(run: RunDir, finished: Mapping[str, Finished], began_with: Kept) -> Ledger:
    """The entries of finished topics, those too that a crash kept out of the file, after those
    that the run began with."""
    where = run.path / LEDGER
    if not finished:
        return Ledger(model_id="", handoff="stack")
    try:
        known = ledgers.read(run)
    except Damaged as error:
        hint = f"`mindprint resume {run.path}` makes it again"
        raise Damaged(where, "it is missing or was changed", hint=hint) from error
    topics = {*finished, *began_with.topics}
    kept = [entry for entry in known.entries if entry.topic in topics]
    ledger = known.model_copy(update={"entries": tuple(kept)})
    return joined(ledger, finished, tuple(finished), run)


def _earlier(topics: Sequence[str]) -> str:
    """The way round a file that is not whole, if anything lies before it."""
    return f", or add `--until {topics[-1]}`, whose files are whole" if topics else ""


def _handoff(config: Config, known: Handoff) -> Handoff:
    asked = config.handoff
    if asked == "auto" and known == "merge" and config.adapter.kind == "lslora":
        return "stack"  # no merge holds its spline
    if asked == "auto" or asked == known:
        return known
    if asked != "continue" and known != "continue":
        return asked  # both keep every topic's adapter
    raise ConfigError(
        f"the past is carried by `{known}`, which cannot become `{asked}`",
        where="handoff",
        hint=f"leave it at `{known}`, or start a new run with `mindprint train`",
    )


def _whole(entry: Entry, folder: Path) -> bool:
    try:
        return adapter_digest(folder) == entry.sha256
    except OSError:
        return False


def _let_write(folder: Path) -> None:
    """The run that is copied may be read-only; the new one is to be written on."""
    for path in (folder, *folder.rglob("*")):
        more = stat.S_IRWXU if path.is_dir() else stat.S_IRUSR | stat.S_IWUSR
        path.chmod(stat.S_IMODE(path.stat().st_mode) | more)


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())

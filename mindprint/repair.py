"""A run folder looked over before a run goes on: what is damaged goes, if it can be made again."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path

from mindprint import ledger as ledgers
from mindprint.disk import journal
from mindprint.disk.sealed import Damaged, adapter_digest, is_whole
from mindprint.disk.whole import remove_folder, sync_folder
from mindprint.finished import FINAL, RECORD, Finished, joined, read_finished
from mindprint.heritage import Kept
from mindprint.inputs import FILE, Origin, read_inputs
from mindprint.ledger import LEDGER, Entry, Ledger
from mindprint.plan_file import PLAN
from mindprint.report.files import RESULT
from mindprint.rundir import PAST, PAST_FILE, RunDir
from mindprint.topic_folder import (
    KEPT,
    exams_of,
    first_unusable,
    odd_adapter,
    odd_beside,
    odd_past,
    odd_stage,
    stages_of,
)

_NOTHING = Ledger(model_id="", handoff="stack")


def repair(run: RunDir, topics: Sequence[str]) -> tuple[str, ...]:
    """Remove what is not as it was written and can be made again; the run must be locked.

    `topics`: those of the run, in its order. Returns what is to be said, a sentence a file. Raises
    Damaged naming a file without which going on would be wrong. `config.yaml` and `inputs.json`
    are not looked at here, nor are checkpoints: training falls back to an older one.
    """
    mending = _Repair(run, topics)
    mending.go()
    return tuple(mending.said)


class _Repair:
    def __init__(self, run: RunDir, topics: Sequence[str]) -> None:
        self._run, self._topics = run, tuple(topics)
        self._origin, self._began_with, self._by_drop = _origins(run)
        self._past = _past(run, self._began_with)
        self.said: list[str] = []

    def go(self) -> None:
        self._unless_whole(self._run.path / PLAN, "it is written anew")
        self._unless_whole(
            self._run.path / RESULT, "it is made anew, without the times of the earlier part"
        )
        for path in sorted((self._run.path / "base").rglob("*.json")):
            self._unless_whole(path, "the base is asked again")
        finished = self._all_finished()
        ledger = self._ledger(finished)
        replayed = [t for t in self._topics if ledger.of(t) and t not in finished]
        for topic in self._past.topics:
            for entry in ledger.needed(topic, replayed=bool(replayed)):
                self._check_adapter(entry, ledger)
        for topic in finished:
            self._look_over(topic, ledger, replayed=bool(replayed))
        for topic in replayed:
            self._check_replay(topic, ledger)
        begun = [t for t in self._topics if t not in finished and not ledger.of(t)]
        self._mend_begun(begun)
        self._events(ledger)

    def _all_finished(self) -> dict[str, Finished]:
        """Topics whose record and final exam are whole; those of others are made again."""
        found = {}
        for topic in self._topics:
            finished = self._finished(topic)
            if finished is not None:
                found[topic] = finished
        return found

    def _finished(self, topic: str) -> Finished | None:
        folder = self._run.topic(topic)
        record, final = folder / RECORD, folder / FINAL
        again = "the topic is gone through again, from its stages"
        try:
            finished = read_finished(folder)
        except Damaged as error:
            if self._is_taken_over(topic):
                raise self._refusal(record, _how(error), topic) from error
            if record.is_file():
                self._remove(record, again)
            self._unless_whole(final, again)
            return None
        if is_whole(final) or (self._is_taken_over(topic) and _asks_otherwise(final, finished)):
            return finished
        if self._is_taken_over(topic):
            raise self._refusal(final, "it is missing or was changed", topic)
        if final.is_file():
            self._remove(final, again)
        else:
            self.said.append(f"`{self._name(final)}` is missing: {again}")
        record.unlink()
        sync_folder(folder)
        return None

    def _is_taken_over(self, topic: str) -> bool:
        """Whether a fork brought it: its answers were given in another run."""
        return self._origin is not None and topic in self._origin.topics

    def _ledger(self, finished: Mapping[str, Finished]) -> Ledger:
        """As the run will open it: the file, or what the records say."""
        where = self._run.path / LEDGER
        if is_whole(where):
            return joined(ledgers.read(self._run), finished, self._topics, self._run)
        try:
            began = _NOTHING.model_copy(update={"entries": self._past.entries})
            made = joined(began, finished, self._topics, self._run)
        except Damaged as error:
            how = f"{_how(error)}, and `{LEDGER}` is missing or damaged as well"
            raise Damaged(Path(error.faults[0].file), how, hint=error.hint) from error
        if where.is_file():
            self._remove(where, "it is made again from the topics' records")
        elif finished:
            self.said.append(f"`{LEDGER}` is missing: it is made again from the topics' records")
        return made

    def _look_over(self, topic: str, ledger: Ledger, *, replayed: bool) -> None:
        """A finished topic: its adapters that act must be whole, the rest is evidence."""
        needed = {entry.folder: entry for entry in ledger.needed(topic, replayed=replayed)}
        for entry in needed.values():
            self._check_adapter(entry, ledger)
        self._say_unread(odd_past(self._run.topic(topic)))

    def _check_adapter(self, entry: Entry, ledger: Ledger) -> None:
        folder = self._run.path / entry.folder
        try:
            whole = adapter_digest(folder) == entry.sha256
        except OSError:
            whole = False
        if not whole:
            how = "its hash is not the one in the ledger, or it is missing"
            raise self._refusal(odd_adapter(folder), how, entry.topic, ledger)

    def _check_replay(self, topic: str, ledger: Ledger) -> None:
        """Of a topic that the ledger knows nothing is trained again: every stage must be whole."""
        self.said.append(f"`{topic}` has no whole record: it is gone through again")
        for entry in ledger.of(topic):
            folder = self._run.path / entry.folder
            if odd := odd_stage(folder):
                raise self._refusal(*odd, topic, ledger)
            self._check_adapter(entry, ledger)
        self._mend_exams(topic)

    def _mend_begun(self, topics: Sequence[str]) -> None:
        """Topics under way: a stage that cannot be used is trained again, with all after it."""
        again = False
        for topic in topics:
            folder = self._run.topic(topic)
            if again and folder.is_dir():
                remove_folder(folder)
                self.said.append(f"`{topic}` is begun anew: an earlier topic is trained again")
                continue
            again = self._mend_stages(topic) or again
            self._mend_exams(topic)

    def _mend_stages(self, topic: str) -> bool:
        """Whether any stage has to be trained again."""
        stages = stages_of(self._run.topic(topic))
        odd = first_unusable(stages)
        if odd is None:
            return False
        place, path, how = odd
        for folder in reversed(stages[place:]):
            remove_folder(folder)
        remove_folder(self._run.checkpoints)  # of a stage that came after these
        names = ", ".join(f"`{folder.name}`" for folder in stages[place:])
        said = f"`{self._name(path)}` is not as it was written ({how})"
        self.said.append(f"{said}: {names} of `{topic}` trained again")
        kept = self._run.topic(topic) / KEPT
        kept.unlink(missing_ok=True)
        return True

    def _mend_exams(self, topic: str) -> None:
        folder = self._run.topic(topic)
        for path in exams_of(folder):
            self._unless_whole(path, "the model is asked again")
        self._say_unread(odd_beside(folder))

    def _say_unread(self, paths: Sequence[Path]) -> None:
        for path in paths:
            how = "is not as it was written" if path.is_file() else "is missing"
            self.said.append(f"`{self._name(path)}` {how}: nothing reads it any more")

    def _events(self, ledger: Ledger) -> None:
        self.said += journal.mend(self._run.events)
        if ledger.entries and not self._run.events.is_file():
            name = self._run.events.name
            self.said.append(f"`{name}` is missing: what was told so far is lost")

    def _unless_whole(self, path: Path, then: str) -> None:
        if path.is_file() and not is_whole(path):
            self._remove(path, then)

    def _remove(self, path: Path, then: str) -> None:
        path.unlink()
        sync_folder(path.parent)
        self.said.append(f"`{self._name(path)}` is not as it was written: {then}")

    def _name(self, path: Path) -> str:
        return path.relative_to(self._run.path).as_posix()

    def _refusal(self, path: Path, how: str, topic: str, ledger: Ledger | None = None) -> Damaged:
        """The way out is a copy of the file, or a run that takes what lies before it."""
        if topic in self._past.topics and self._began_with is not None:
            hint = f"put back a copy: the adapter is of {self._began_with.run}"
            return Damaged(path, how, hint=hint)
        if self._is_taken_over(topic) and self._origin is not None:
            hint = f"put back a copy: the topic was taken over from {self._origin.run}"
            if self._by_drop:
                again = f"`mindprint drop {shlex.quote(self._origin.run)} TOPIC --out NEW`"
                hint = f"put back a copy, or make such a run again with {again}"
            return Damaged(path, how, hint=hint)
        known = [one for one in self._topics if ledger is not None and ledger.of(one)]
        earlier = known[: known.index(topic)] if topic in known else []
        hint = "put back a copy of the file, or begin anew with `mindprint train`"
        if earlier:
            hint = (
                f"put back a copy of the file, or `mindprint resume {self._run.path} --fork NEW "
                f"--until {earlier[-1]}` goes on in a new run with what lies before it"
            )
        return Damaged(path, how, hint=hint)


def _asks_otherwise(final: Path, finished: Finished) -> bool:
    """Whether a fork left the topic's answers out, since what it asks is not what was asked."""
    return not final.is_file() and not finished.retained


def _how(error: Damaged) -> str:
    return error.what.partition(": ")[2] or error.what


def _origins(run: RunDir) -> tuple[Origin | None, Origin | None, bool]:
    """Where the topics that a run took over are from, and the adapters it began with; a folder
    without inputs has neither. Last, whether it is what a drop left."""
    if not (run.path / FILE).is_file():
        return None, None, False
    inputs = read_inputs(run.path)
    return inputs.forked_from, inputs.began_with, inputs.made_by_drop


def _past(run: RunDir, began_with: Origin | None) -> Kept:
    """The adapters that the run began with. Raises Damaged where they should be there."""
    found = Kept.of(run)
    if began_with is not None and not found.entries:
        hint = f"put back a copy of the folder: its adapters are of {began_with.run}"
        raise Damaged(run.path / PAST / PAST_FILE, "it is missing", hint=hint)
    return found

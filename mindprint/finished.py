"""A finished topic on disk: its record, with the ledger's entries it made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from mindprint.disk.sealed import Damaged, read_json, write_json
from mindprint.ledger import Entry, Ledger
from mindprint.report.kept import Retained
from mindprint.report.model import TopicRecord
from mindprint.rundir import RunDir

RECORD = "record.json"
FINAL = "final.json"


@dataclass(frozen=True)
class Finished:
    """What a topic left: its record, its rows of the forgetting matrices, its entries of the
    ledger, and the model that they were made on. Written before the ledger, so that the ledger can
    be made again from it."""

    record: TopicRecord
    retained: tuple[Retained, ...]
    entries: tuple[Entry, ...]
    model_id: str

    def write(self, folder: Path) -> None:
        """Into a topic's folder."""
        tree = {
            "topic": self.record.model_dump(mode="json"),
            "retained": [row.model_dump(mode="json") for row in self.retained],
            "entries": [entry.model_dump(mode="json") for entry in self.entries],
            "model_id": self.model_id,
        }
        write_json(folder / RECORD, tree)


def read_finished(folder: Path) -> Finished:
    """Of a topic's folder. Raises Damaged when the record is missing or not as it was written."""
    tree = read_json(folder / RECORD)
    try:
        return Finished(
            record=TopicRecord.model_validate(tree["topic"]),
            retained=tuple(Retained.model_validate(row) for row in tree["retained"]),
            entries=tuple(Entry.model_validate(entry) for entry in tree["entries"]),
            model_id=str(tree["model_id"]),
        )
    except (KeyError, TypeError, ValidationError) as error:
        raise Damaged(folder / RECORD, "it is no record of a topic") from error


def all_finished(run: RunDir, topics: Sequence[str]) -> dict[str, Finished]:
    """Those of `topics` that have a record. Raises Damaged."""
    folders = {topic: run.topic(topic) for topic in topics}
    return {
        topic: read_finished(folder)
        for topic, folder in folders.items()
        if (folder / RECORD).is_file()
    }


def joined(
    ledger: Ledger, finished: Mapping[str, Finished], topics: Sequence[str], run: RunDir
) -> Ledger:
    """The ledger with the entries of finished topics that it lacks, in the order of `topics`.

    Raises Damaged when a finished topic comes after one that neither has a record nor stands in
    the ledger: what it was trained on is not known. Raises StageError when a record has an entry
    otherwise than the ledger.
    """
    unknown = ""
    for topic in topics:
        if topic in finished:
            if unknown:
                missing = run.topic(unknown) / RECORD
                raise Damaged(missing, f"it is missing, and `{topic}` was trained after it")
            for entry in finished[topic].entries:
                ledger = ledger.with_entry(entry)
        elif not ledger.of(topic):
            unknown = unknown or topic
    return ledger

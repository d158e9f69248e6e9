"""Changes from the base to the end, worded by what can be known of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from mindprint.report.model import Result, TopicRecord
from mindprint.report.scores import Figure
from mindprint.report.summary import by_markers
from mindprint.report.words import several, signed, signed_span

Kind = Literal["rise", "fall", "noise", "since"]


@dataclass(frozen=True)
class Shift:
    """`kind` is a rise or a fall only where the change is clear over all topics and its interval
    holds no 0; all else is `noise`. A calibrated voice is one figure for the whole run and no
    finding of its topic: its change is told and not judged (`since`). `said` says it in words."""

    kind: Kind
    value: str
    interval: str
    said: str

    @property
    def told(self) -> str:
        """`+0.77, clear rise`, or `+0.77 since base`, short for a table."""
        return f"{self.value} since base" if self.kind == "since" else f"{self.value}, {self.said}"


def shift(topic: TopicRecord, measure: Figure) -> Shift | None:
    """The change of one figure, or None where it was not compared."""
    change = topic.changes.get(measure)
    if change is None:
        return None
    value, interval = signed(change.value), signed_span(change.low, change.high)
    if measure == "voice" and not by_markers(topic):
        return Shift("since", value, interval, "since the base")
    if not (change.rose or change.fell):
        return Shift("noise", value, interval, "within noise")
    if measure not in topic.clear:
        asked = several(change.clusters, "question")
        return Shift("noise", value, interval, f"not clear with {asked}")
    kind: Kind = "rise" if change.rose else "fall"
    return Shift(kind, value, interval, f"clear {kind}")


def tally(result: Result, measure: Figure) -> str:
    """`clear rise in 5 of 6 topics, clear fall in 1`; empty where nothing was compared, or
    where the figure is one for the whole run."""
    found = [shift(topic, measure) for topic in result.topics]
    known = [one for one in found if one is not None and one.kind != "since"]
    if not known:
        return ""
    rises, falls = (sum(one.kind == kind for one in known) for kind in ("rise", "fall"))
    told = f"clear rise in {rises} of {several(len(known), 'topic')}"
    return told + (f", clear fall in {falls}" if falls else "")

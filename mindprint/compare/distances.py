"""How far the adapters of two runs are apart, relative to what the first adds to the weights.

The bound is 1e-3 of the update, for stages of 50 steps and more. AdamW divides a gradient by its
own size: a weight whose gradient is below its epsilon and the noise of float32 still moves by about
the rate at each of the first steps, and on each framework otherwise. Its part of an update goes
down as the others go on moving, so that the bound of a shorter stage is wider by 50 over its steps.

What a DoRA adds is (c - 1) W0 + L, by the base's weights and by what acts below it. No weights hold
what an LS-LoRA does: it counts as its factors and scales would with the identity for a spline, and
how far its splines are apart is told by itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from backends import peft_files
from backends.chain import Held, Rows, Sum, norms, sloped
from backends.errors import AdapterError, ModelError
from backends.lora import name_s, paths_of
from mindprint.compare.claims import claims
from mindprint.compare.model import Distance
from mindprint.compare.run import Place, Run
from mindprint.compare.splines import moved
from mindprint.compare.weights import rows_of_run
from mindprint.disk.sealed import Damaged
from mindprint.errors import ConfigError
from mindprint.ledger import Entry, verified
from mindprint.rundir import RunDir
from mindprint.stage_folder import read_stage

ADAPTERS = 1e-3
STEADY = 50
"""Steps from which on ADAPTERS holds as it is."""
NOTHING = "the first run adds nothing to the weights"
SPLINES = "values and scales of its splines"


class Adapters:
    """The adapters that a run's ledger has in force, read once. `missing`: why they cannot be
    used, "" where they can."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self.held: list[tuple[Entry, Held]] = []
        self.missing = run.no_ledger
        if run.ledger is None:
            return
        try:
            self.held = [(entry, self._read(entry)) for entry in run.ledger.acting()]
        except (ConfigError, AdapterError) as error:
            self.missing = f"`{run.name}`: {error.what}"

    def _read(self, entry: Entry) -> Held:
        """Raises ConfigError or AdapterError where it is not the one that was written."""
        return peft_files.read(verified(RunDir(self._run.path), entry))

    def of_stage(self, place: Place) -> Sum | None:
        """What a stage made adds over what acted below it, in force or not; None where it is not
        there any more."""
        try:
            made = self._made(place)
            below = self._below(place) if made[0].kind == "dora" else []
        except (Damaged, ConfigError, AdapterError):
            return None
        return [([*below, made], 1.0), (below, -1.0)]

    def _made(self, place: Place) -> Held:
        """Raises Damaged, ConfigError or AdapterError."""
        folder = RunDir(self._run.path).stage(place.topic, place.stage, place.attempt)
        read_stage(folder)
        return unbent(peft_files.read(folder))

    def _below(self, place: Place) -> list[Held]:
        """What acted as a stage began, but for the adapter that it trained on."""
        ledger = self._run.ledger
        known = ledger.before(place.topic).acting() if ledger is not None else ()
        found = [unbent(self._read(entry)) for entry in (known[:-1] if self.carried else known)]
        if place.stage == "dpo" and self._run.value("dpo.adapter") == "new":
            found.append(self._made(place._replace(stage="sft")))
        return found

    @property
    def carried(self) -> bool:
        """Whether one adapter carries all topics, so that none has its own."""
        ledger = self._run.ledger
        return ledger is not None and ledger.handoff == "continue"

    @property
    def topics(self) -> tuple[str, ...]:
        """Those with an adapter in force, in order."""
        return tuple(dict.fromkeys(entry.topic for entry, _ in self.held))

    @property
    def learned(self) -> tuple[str, ...]:
        """Topics whose change is in what is in force, whichever adapters carry it."""
        entries = self._run.ledger.entries if self._run.ledger is not None else ()
        return tuple(dict.fromkeys(entry.topic for entry in entries if entry.accepted))

    def of(self, topic: str = "") -> Sum:
        """What a topic's add over those before them, or what all do over the base."""
        everything = [unbent(held) for _, held in self.held]
        if not topic:
            return [(everything, 1.0), ([], -1.0)]
        places = [place for place, (entry, _) in enumerate(self.held) if entry.topic == topic]
        if all(spec.kind == "lora" for spec, _ in everything):
            return [([everything[place] for place in places], 1.0), ([], -1.0)]
        return [(everything[: places[-1] + 1], 1.0), (everything[: places[0]], -1.0)]

    def rows(self, path: str) -> Iterable[NDArray[np.floating]]:
        """Of the base's weights, which a DoRA asks for. Raises ConfigError or ModelError where they
        are not known."""
        return self._weights(path)

    @cached_property
    def _weights(self) -> Rows:
        return rows_of_run(self._run)

    @cached_property
    def _total(self) -> tuple[float | None, str]:
        if self.missing:
            return None, ""
        try:
            return _told_digits(*norms([self.of()], self.rows)), ""
        except (ConfigError, AdapterError, ModelError) as error:
            why = f"how much `{self._run.name}` adds to the weights is not told: {error.what}"
            return None, why

    @property
    def total(self) -> float | None:
        """Norm of all that is added to the weights; 0 where nothing is in force, None where it
        cannot be told."""
        return self._total[0]

    @property
    def notes(self) -> tuple[str, ...]:
        """What is to be said of the norms of what it adds."""
        bends = any(spec.spline is not None for _, (spec, _) in self.held)
        told = (
            f"`{self._run.name}` has LS-LoRA adapters, which no weights can hold: in the norms and "
            "distances they count as their factors and scales with the identity for a spline, and "
            "their splines are compared by themselves"
        )
        return tuple(filter(None, (told if bends else "", self._total[1])))


@dataclass(frozen=True)
class _Wanted:
    """A distance that is to be worked out: what the first run adds and what the other does."""

    ours: Sum
    theirs: Sum
    topic: str = ""
    stage: str = ""
    bound: float | None = None

    @property
    def sums(self) -> tuple[Sum, Sum]:
        """What the first adds, and how the other differs from it."""
        return self.ours, [*self.theirs, *((held, -times) for held, times in self.ours)]


def distances(first: Run, other: Run, here: Adapters, there: Adapters) -> tuple[Distance, ...]:
    """Of all adapters together, then of each topic's that both have in force, then of what stages
    made that is not in force in both."""
    why = _why(first, other, here, there)
    if why:
        return (Distance(run=other.name, topic="", relative=None, because=why),)
    held = claims(first, other)
    wanted: list[_Wanted] = []
    told: list[Distance] = []
    if here.learned == there.learned:
        bound = _bound(first, other, "", here, held)
        wanted.append(_Wanted(here.of(), there.of(), bound=bound))
    else:
        because = f"other topics are in force: {_told(here)}, and {_told(there)}"
        told.append(Distance(run=other.name, topic="", relative=None, because=because))
    shared = [topic for topic in here.topics if topic in there.topics]
    if not here.carried and not there.carried:
        for topic in shared:
            bound = _bound(first, other, topic, here, held)
            wanted.append(_Wanted(here.of(topic), there.of(topic), topic, bound=bound))
    wanted += _undone(first, other, here, there)
    found = _measured(other, wanted, here)
    return (*told, *found, *_splines(other, here, there, shared))


def unbent(held: Held) -> Held:
    """An LS-LoRA with the identity for its splines, as a LoRA; one of another kind as it is."""
    spec, tensors = held
    if spec.spline is None:
        return held
    return sloped(held, {path: float(tensors[name_s(path)].prod()) for path in paths_of(tensors)})


def _measured(other: Run, wanted: Sequence[_Wanted], here: Adapters) -> list[Distance]:
    """The weights, where they are asked for, are the first run's: the other's are the same."""
    try:
        figures = norms([one for want in wanted for one in want.sums], here.rows)
    except (ConfigError, AdapterError, ModelError) as error:
        return [
            Distance(
                run=other.name, topic=one.topic, relative=None, because=error.what, stage=one.stage
            )
            for one in wanted
        ]
    found = []
    for one, size, apart in zip(wanted, figures[::2], figures[1::2], strict=True):
        if not size and one.stage:
            continue
        distance = Distance(
            run=other.name,
            topic=one.topic,
            relative=_told_digits(apart / size) if size else None,
            because="" if size else NOTHING,
            bound=one.bound if size else None,
            stage=one.stage,
        )
        found.append(distance)
    return found


def _undone(first: Run, other: Run, here: Adapters, there: Adapters) -> list[_Wanted]:
    """Of topics that not both have learned, the last stage that both trained."""
    learned = set(here.learned) & set(there.learned)
    last = {place.topic: place for place in first.stages if place in other.stages}
    found = []
    for topic, place in last.items():
        if topic in learned:
            continue
        ours, theirs = here.of_stage(place), there.of_stage(place)
        if ours is None or theirs is None:
            continue
        again = f", attempt {place.attempt + 1}" if place.attempt else ""
        kept = [run.name for run, held in ((first, here), (other, there)) if topic in held.learned]
        state = f"in force in `{kept[0]}` alone" if kept else _fate(first, other, place)
        stage = f"{place.stage.upper()}{again}, {state}"
        found.append(_Wanted(ours, theirs, topic, stage))
    return found


def _splines(
    other: Run, here: Adapters, there: Adapters, shared: Sequence[str]
) -> Iterable[Distance]:
    """How far the splines of topics that both have in force are apart, over how far the first run's
    moved from the identity."""
    for topic in shared:
        ours, theirs = (
            moved([held for entry, held in run.held if entry.topic == topic])
            for run in (here, there)
        )
        if not ours and not theirs:
            continue
        relative, because = None, "their splines are not of one form"
        if ours.keys() == theirs.keys():
            size = sum(float(np.square(one).sum()) for one in ours.values()) ** 0.5
            apart = sum(float(np.square(theirs[n] - ours[n]).sum()) for n in ours) ** 0.5
            relative = _told_digits(apart / size) if size else None
            because = "" if size else "the first run's splines have not moved"
        yield Distance(
            run=other.name, topic=topic, relative=relative, because=because, stage=SPLINES
        )


def _fate(first: Run, other: Run, place: Place) -> str:
    """What became of a stage that is in force in neither."""
    records = [run.topic(place.topic) for run in (first, other)]
    done = all(record is not None and record.stages for record in records)
    return "rolled back" if done else "not decided yet"


def _why(first: Run, other: Run, here: Adapters, there: Adapters) -> str:
    """Why the two cannot be compared at all."""
    if first.result.model.id != other.result.model.id:
        return "they belong to other models"
    return here.missing or there.missing


def _bound(
    first: Run, other: Run, topic: str, here: Adapters, held: Mapping[Place, str]
) -> float | None:
    """None unless every stage behind the adapters is held to a bound, and is in force in both."""
    if first.dropped or other.dropped:
        return None
    topics = [topic] if topic else [one.id for one in first.topics if one.id in here.learned]
    behind = [place for name in topics for place in first.accepted(name)]
    same = behind == [place for name in topics for place in other.accepted(name)]
    if not behind or not same or any(held.get(place, "no") for place in behind):
        return None
    steps = min(first.stages[place].steps for place in behind)
    return ADAPTERS * max(1.0, STEADY / steps) if steps else None


def _told_digits(value: float) -> float:
    """Six digits: the last ones go by how many threads a factorisation was cut over."""
    return float(f"{value:.6g}")


def _told(adapters: Adapters) -> str:
    return ", ".join(f"`{topic}`" for topic in adapters.learned) or "none"

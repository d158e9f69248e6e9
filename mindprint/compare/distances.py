"""How far the adapters of two runs are apart, relative to what the first adds to the weights.

The bound is 1e-3 of the update, for stages of 50 steps and more. AdamW divides a gradient by its
own size: a weight whose gradient is below its epsilon and the noise of float32 still moves by about
the rate at each of the first steps, and on each framework otherwise. Its part of an update goes
down as the others go on moving, so that the bound of a shorter stage is wider by 50 over its steps.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property

from backends import peft_files
from backends.errors import AdapterError
from backends.lora import name_a, name_b, paths_of
from mindprint.compare.claims import claims
from mindprint.compare.model import Distance
from mindprint.compare.run import Place, Run
from mindprint.disk.sealed import Damaged
from mindprint.errors import ConfigError
from mindprint.export.folded import Held, concatenated, norm
from mindprint.ledger import Entry, verified
from mindprint.rundir import RunDir
from mindprint.stage_folder import read_stage

ADAPTERS = 1e-3
STEADY = 50
"""Steps from which on ADAPTERS holds as it is."""


class Adapters:
    """The adapters that a run's ledger has in force, read once. `missing`: why they cannot be
    used, "" where they can."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._held: list[tuple[Entry, Held]] = []
        self.missing = run.no_ledger
        if run.ledger is None:
            return
        try:
            self._held = [(entry, self._read(entry)) for entry in run.ledger.acting()]
        except (ConfigError, AdapterError) as error:
            self.missing = f"`{run.name}`: {error.what}"

    def _read(self, entry: Entry) -> Held:
        """Raises ConfigError or AdapterError where it is not the one that was written."""
        return peft_files.read(verified(RunDir(self._run.path), entry))

    def of_stage(self, place: Place) -> Held | None:
        """What a stage made, in force or not; None where it is not there any more."""
        folder = RunDir(self._run.path).stage(place.topic, place.stage, place.attempt)
        try:
            read_stage(folder)
            return peft_files.read(folder)
        except (Damaged, ConfigError, AdapterError):
            return None

    @property
    def carried(self) -> bool:
        """Whether one adapter carries all topics, so that none has its own."""
        ledger = self._run.ledger
        return ledger is not None and ledger.handoff == "continue"

    @property
    def topics(self) -> tuple[str, ...]:
        """Those with an adapter in force, in order."""
        return tuple(dict.fromkeys(entry.topic for entry, _ in self._held))

    @property
    def learned(self) -> tuple[str, ...]:
        """Topics whose change is in what is in force, whichever adapters carry it."""
        entries = self._run.ledger.entries if self._run.ledger is not None else ()
        return tuple(dict.fromkeys(entry.topic for entry in entries if entry.accepted))

    def of(self, topic: str = "") -> list[Held]:
        """A topic's, or all."""
        return [held for entry, held in self._held if topic in ("", entry.topic)]

    @cached_property
    def total(self) -> float | None:
        """Norm of all that is added to the weights; 0 where nothing is in force."""
        return None if self.missing else _told_digits(norm_of(self.of()))


def norm_of(adapters: Sequence[Held], signs: Sequence[float] | None = None) -> float:
    """Frobenius norm of the sum of their changes, each times its sign, in float64; layer by layer,
    so that the stacked factors of one layer alone are held."""
    if not adapters:
        return 0.0
    signs = signs or [1.0] * len(adapters)
    paths = dict.fromkeys(path for _, tensors in adapters for path in paths_of(tensors))
    total = 0.0
    for path in paths:
        names = (name_a(path), name_b(path))
        layer = [
            ((spec, {name: tensors[name] for name in names}), sign)
            for (spec, tensors), sign in zip(adapters, signs, strict=True)
            if names[0] in tensors
        ]
        total += norm(concatenated([one for one, _ in layer], [sign for _, sign in layer])) ** 2
    return float(total**0.5)


def distances(first: Run, other: Run, here: Adapters, there: Adapters) -> tuple[Distance, ...]:
    """Of all adapters together, then of each topic's that both have in force, then of what stages
    made that is not in force in both."""
    why = _why(first, other, here, there)
    if why:
        return (Distance(run=other.name, topic="", relative=None, because=why),)
    held = claims(first, other)
    found = [_distance(first, other, "", here, there, held)]
    shared = [topic for topic in here.topics if topic in there.topics]
    if not here.carried and not there.carried:
        found += [_distance(first, other, topic, here, there, held) for topic in shared]
    learned = set(here.learned) & set(there.learned)
    undone = _undone(first, other, here, there, learned)
    return (*found, *undone)


def _undone(
    first: Run, other: Run, here: Adapters, there: Adapters, learned: set[str]
) -> list[Distance]:
    """Of topics that not both have learned, the last stage that both trained."""
    last = {place.topic: place for place in first.stages if place in other.stages}
    found = []
    for topic, place in last.items():
        ours, theirs = here.of_stage(place), there.of_stage(place)
        if topic in learned or ours is None or theirs is None:
            continue
        size = norm_of([ours])
        if not size:
            continue
        relative = _told_digits(norm_of([theirs, ours], [1.0, -1.0]) / size)
        again = f", attempt {place.attempt + 1}" if place.attempt else ""
        kept = [run.name for run, held in ((first, here), (other, there)) if topic in held.learned]
        state = f"in force in `{kept[0]}` alone" if kept else _fate(first, other, place)
        stage = f"{place.stage.upper()}{again}, {state}"
        found.append(Distance(run=other.name, topic=topic, relative=relative, stage=stage))
    return found


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


def _distance(
    first: Run,
    other: Run,
    topic: str,
    here: Adapters,
    there: Adapters,
    held: Mapping[Place, str],
) -> Distance:
    ours, theirs = here.of(topic), there.of(topic)
    because, relative, bound = "", None, None
    if not topic and here.learned != there.learned:
        because = f"other topics are in force: {_told(here)}, and {_told(there)}"
    else:
        size = norm_of(ours)
        if size:
            signs = [1.0] * len(theirs) + [-1.0] * len(ours)
            relative = _told_digits(norm_of([*theirs, *ours], signs) / size)
            bound = _bound(first, other, topic, here, held)
        else:
            because = "the first run adds nothing to the weights"
    return Distance(run=other.name, topic=topic, relative=relative, because=because, bound=bound)


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

"""How far the adapters of two runs are apart, relative to what the first adds to the weights."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

from backends import peft_files
from backends.errors import AdapterError
from backends.lora import name_a, name_b
from mindprint.compare.model import Distance
from mindprint.compare.run import Run
from mindprint.errors import ConfigError
from mindprint.export.folded import Held, concatenated, norm, paths_of
from mindprint.ledger import Entry, verified
from mindprint.rundir import RunDir


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
        return None if self.missing else norm_of(self.of())


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
    """Of all adapters together, then of each topic's that both have in force."""
    why = _why(first, other, here, there)
    if why:
        return (Distance(run=other.name, topic="", relative=None, because=why),)
    found = [_distance(other.name, "", here, there)]
    if here.carried or there.carried:
        return tuple(found)
    shared = [topic for topic in here.topics if topic in there.topics]
    return (*found, *(_distance(other.name, topic, here, there) for topic in shared))


def _why(first: Run, other: Run, here: Adapters, there: Adapters) -> str:
    """Why the two cannot be compared at all."""
    if first.result.model.id != other.result.model.id:
        return "they belong to other models"
    return here.missing or there.missing


def _distance(run: str, topic: str, here: Adapters, there: Adapters) -> Distance:
    ours, theirs = here.of(topic), there.of(topic)
    because, relative = "", None
    if not topic and here.learned != there.learned:
        because = f"other topics are in force: {_told(here)}, and {_told(there)}"
    else:
        size = norm_of(ours)
        if size:
            signs = [1.0] * len(theirs) + [-1.0] * len(ours)
            relative = norm_of([*theirs, *ours], signs) / size
        else:
            because = "the first run adds nothing to the weights"
    return Distance(run=run, topic=topic, relative=relative, because=because)


def _told(adapters: Adapters) -> str:
    return ", ".join(f"`{topic}`" for topic in adapters.learned) or "none"

"""Memory after every stage: told, kept for the report, and watched for what creeps up."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from math import prod
from weakref import WeakKeyDictionary

from backends.contract import Session
from mindprint.events import Event, Listener
from mindprint.report.model import MemorySample
from mindprint.report.words import size

SHARE, SPARE = 0.05, 64 * 2**20
"""Growth that is no finding: allocators keep some of what was freed."""

FROZEN = 3
"""Most copies of a frozen adapter that a backend holds: as it was trained, as each layer holds it,
and joined with the others. A merged one is kept once, for the next merge."""

FIGURES = {"rss": "memory", "device": "device memory"}


@dataclass
class _Session:
    """What one process saw. `adapters`: bytes of each adapter it trained, by name; `base`: bytes in
    use as its second topic ended, with `held`, what its adapters then took; `told`: what was last
    said to be too much, by figure."""

    topics: list[str] = field(default_factory=list)
    adapters: dict[str, int] = field(default_factory=dict)
    base: dict[str, int] = field(default_factory=dict)
    held: int = 0
    told: dict[str, int] = field(default_factory=dict)


_sessions: WeakKeyDictionary[Session, _Session] = WeakKeyDictionary()
"""Another process's memory says nothing of this one's, so the samples of a run do not suffice."""


def sample(
    session: Session, topic: str, stage: str, samples: list[MemorySample], listen: Listener
) -> None:
    """Add what is in use now to `samples`; say so when it has grown since the second topic ended
    by more than SHARE and SPARE, beyond what the adapters of the past take, and again for every
    SHARE more."""
    memory = asdict(session.memory())
    samples.append(MemorySample(stage=f"{topic} {stage}", **memory))
    listen(Event("memory", topic, stage, memory))
    seen = _sessions.setdefault(session, _Session())
    held = _held(session, seen)
    if topic not in seen.topics:
        seen.topics.append(topic)
    if len(seen.topics) == 2:  # the first pays for what is made once
        seen.base = {name: memory[name] for name in FIGURES if memory[name]}
        seen.held = held
    elif len(seen.topics) > 2:
        for text in _grown(seen, memory, held - seen.held):
            listen(Event("notice", topic, stage, {"text": text}))


def _held(session: Session, seen: _Session) -> int:
    """Bytes that the adapters this process trained may take, each as it is now."""
    shapes, attached = session.adapters.trainable(), session.adapters.active()
    if shapes:
        seen.adapters[attached[-1]] = sum(4 * prod(shape) for shape in shapes.values())
    return sum(taken * (FROZEN if name in attached else 1) for name, taken in seen.adapters.items())


def _grown(seen: _Session, memory: dict[str, int], adapters: int) -> list[str]:
    found = []
    for name, base in seen.base.items():
        now, more = memory[name], base * SHARE
        net = now - adapters
        if net <= base + more + SPARE or net <= seen.told.get(name, 0) + more:
            continue
        seen.told[name] = net
        known = f" ({size(adapters)} of it may be adapters of the past)" if adapters > 0 else ""
        found.append(
            f"{FIGURES[name]} has grown from {size(base)} after `{seen.topics[1]}` to {size(now)}"
            f"{known}: something is kept that a finished topic no longer needs; stopping the run "
            "and going on with `mindprint resume RUN` frees it"
        )
    return found

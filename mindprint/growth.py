"""Memory after every stage: told, kept for the report."""

from __future__ import annotations

from dataclasses import asdict

from backends.contract import Session
from mindprint.events import Event, Listener
from mindprint.report.model import MemorySample


def sample(
    session: Session, topic: str, stage: str, samples: list[MemorySample], listen: Listener
) -> None:
    """Add what is in use now to `samples`."""
    memory = asdict(session.memory())
    samples.append(MemorySample(stage=f"{topic} {stage}", **memory))
    listen(Event("memory", topic, stage, memory))

"""When growth of memory is said aloud, and when it is not."""

from __future__ import annotations

from typing import Any, cast

from backends.contract import Memory, Session
from mindprint.events import Event
from mindprint.growth import sample
from mindprint.report.model import MemorySample

GIB, MIB = 1 << 30, 1 << 20


class Adapters:
    """`past`: names of frozen adapters; each topic trains one of `width` float32 numbers."""

    def __init__(self, width: int) -> None:
        self.width, self.names = width, [""]

    def trainable(self) -> dict[str, tuple[int, ...]]:
        return {"layer.lora_A": (1, self.width)}

    def active(self) -> tuple[str, ...]:
        return tuple(self.names)


class Process:
    """A session whose memory is what the test says."""

    def __init__(self, samples: list[MemorySample], width: int = 1) -> None:
        self.adapters, self.samples, self.said = Adapters(width), samples, list[str]()
        self.used = (0, 0)

    def memory(self) -> Memory:
        rss, device = self.used
        return Memory(rss=rss, peak_rss=rss, device=device, device_peak=device)

    def topic(self, topic: str, rss: int, device: int = 0) -> None:
        self.adapters.names = [*(name for name in self.adapters.names if name), topic]
        self.used = rss, device
        sample(cast(Session, self), topic, "sft", self.samples, self._hear)

    def _hear(self, event: Event) -> None:
        if event.kind == "notice":
            self.said.append(str(event.data["text"]))


def process(*, width: int = 1, samples: Any = None) -> Process:
    found = Process([] if samples is None else samples, width)
    found.topic("one", GIB // 2)
    found.topic("two", GIB)
    return found


def test_growth_beyond_the_second_topic_is_said_once_for_every_share_more() -> None:
    run = process()
    run.topic("three", GIB + 100 * MIB)  # 5 % and 64 MiB are 115 MiB
    assert not run.said
    run.topic("four", GIB + 120 * MIB)
    run.topic("five", GIB + 140 * MIB)
    (said,) = run.said
    assert "memory has grown from 1.0 GiB after `two` to 1.1 GiB" in said
    assert "mindprint resume RUN" in said
    run.topic("six", GIB + 180 * MIB)
    assert len(run.said) == 2


def test_the_adapters_of_the_past_are_no_growth() -> None:
    run = process(width=50 * MIB // 4)
    run.topic("three", GIB + 150 * MIB)  # one more adapter of 50 MiB, held three times
    run.topic("four", GIB + 300 * MIB)
    assert not run.said
    run.topic("five", GIB + 700 * MIB)
    (said,) = run.said
    assert "450.0 MiB of it may be adapters of the past" in said


def test_the_device_is_watched_too() -> None:
    run = process()
    run.used = GIB, 0
    other = Process([])
    for topic, device in (("one", GIB), ("two", 2 * GIB), ("three", 3 * GIB)):
        other.topic(topic, GIB, device)
    (said,) = other.said
    assert said.startswith("device memory has grown from 2.0 GiB after `two` to 3.0 GiB")


def test_another_processes_memory_is_no_measure() -> None:
    """A run that goes on elsewhere, or after a rest, begins to count anew."""
    first = process()
    later = Process(first.samples)
    for topic in ("three", "four", "five"):
        later.topic(topic, 4 * GIB)
    assert not later.said
    assert [one.stage for one in first.samples] == [
        f"{topic} sft" for topic in ("one", "two", "three", "four", "five")
    ]

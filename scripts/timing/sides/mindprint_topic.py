"""mindprint's side of a whole topic: `mindprint train` as the user runs it, in this process.

It does more than the peers' scripts: the base's exam, checks, statistics, a merge and the report
are in its time. Where the time goes is told by the run's own events, each as it is written.
"""

from __future__ import annotations

import json
import os
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from mindprint.events import Event
from mindprint.rundir import RunDir
from timing import topic, work
from timing.protocol import Outcome, Spec, run

MORE = (
    "mindprint's time holds the base's exam, its checks, statistics, the merge and the report too",
    "an answer ends where the model ends it, or at its {} tokens",
)


@dataclass
class Clock:
    """Seconds from each event of the run to the next, under the later one's name."""

    last: float = field(default_factory=lambda: psutil.Process().create_time())
    parts: dict[str, float] = field(default_factory=dict)
    loaded: int = 0

    def hear(self, event: Event) -> None:
        if event.kind in {"notice", "memory"}:
            return
        self.close(f"{event.kind} {event.stage}".strip())
        if event.kind == "run-started":
            self.loaded = work.resident()

    def close(self, name: str) -> None:
        now = time.time()
        self.parts[name] = self.parts.get(name, 0.0) + now - self.last
        self.last = now


def side(spec: Spec) -> Outcome:
    """Raises RuntimeError where the run fails; ValueError for an option, since there is none."""
    if spec.options:
        raise ValueError(f"mindprint's side has no option {', '.join(sorted(spec.options))}")
    began = time.perf_counter()
    clock = Clock()
    folder = Path(spec.work) / "run"
    train(spec, folder, clock)
    clock.close("after the run")
    result, plan = _read(folder / "result.json"), _read(folder / "plan.json")
    return Outcome(
        seconds=time.perf_counter() - began,
        rows=sum(rows(stage) for stage in plan["stages"]),
        trained_tokens=sum(stage["tokens"] * stage["epochs"] for stage in plan["stages"]),
        loaded_rss=clock.loaded,
        peak_rss=work.peak(),
        versions=dict(result["versions"]),
        notes=[note.format(spec.max_tokens) for note in MORE],
        parts=clock.parts,
        details={
            "answers": answers(folder),
            "timings": result["timings"],
            "stage_seconds": {path.parent.name: seconds(path) for path in stages(folder)},
        },
    )


def train(spec: Spec, folder: Path, clock: Clock) -> None:
    """`mindprint train`, each event of the run heard as it is written, and nothing that an earlier
    run has kept at hand."""
    from mindprint.cache import PLACE
    from mindprint.cli.app import run as command

    os.environ[PLACE] = str(Path(spec.work) / "cache")
    record = RunDir.record

    def heard(self: RunDir, event: Event) -> None:
        record(self, event)
        clock.hear(event)

    RunDir.record = heard  # type: ignore[method-assign]
    config = Path(spec.work) / "config.yaml"  # JSON is YAML
    config.write_text(json.dumps(topic.config(spec), indent=2), encoding="utf-8")
    words = ["train", str(Path(spec.data) / "curriculum"), "--model", spec.model]
    words += ["--backend", spec.backend, "--device", spec.device]
    code = command([*words, "--config", str(config), "--out", str(folder)])
    if code or not (folder / "result.json").is_file():
        raise RuntimeError(f"`mindprint {' '.join(words)}` ended with {code}")


def rows(stage: dict[str, Any]) -> int:
    """Sequences that a planned stage fed: two a pair. Both stages ran, or the run had failed."""
    return int(stage["rows"] * stage["epochs"] * (2 if stage["name"] == "dpo" else 1))


def stages(folder: Path) -> list[Path]:
    return sorted(folder.glob(f"topics/{topic.TOPIC}/*/stage.json"))


def seconds(path: Path) -> float:
    """Of a stage's steps alone."""
    return float(_read(path)["record"]["seconds"])


def answers(folder: Path) -> int:
    """Answers that the run kept, the base's among them."""
    kept = [*folder.glob("topics/**/answers.jsonl"), *folder.glob("base/**/answers.jsonl")]
    return sum(len(path.read_text(encoding="utf-8").splitlines()) for path in kept)


def _read(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


if __name__ == "__main__":
    run(side)

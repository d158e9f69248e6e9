"""What the benchmark says to a worker, and what a worker says back.

A worker is a side of a comparison in a process of its own: `python -m timing.sides.NAME SPEC.json`
with `scripts` on PYTHONPATH. It may print what it likes; its last line is an `Outcome` as JSON.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Self

TARGETS = ("q_proj", "v_proj", "o_proj")


@dataclass(frozen=True)
class Spec:
    """One measurement. `kind`: sft, dpo, answers or topic. `data`: a folder `timing.data` wrote.

    `steps`: optimizer steps of `batch` rows (of pairs, for dpo); 0 for answers and topic.
    `reference`: how a dpo side weighs its reference, `each` step or `precomputed`, where it can
    choose. `work`: an empty folder for what a side writes. The rest is the same for every side:
    AdamW at `rate`, no dropout, no gradient checkpointing, no clipping.
    """

    kind: str
    model: str
    data: str
    work: str
    steps: int = 0
    backend: str = "torch"
    device: str = "cpu"
    dtype: str = "float32"
    threads: int = 2
    batch: int = 4
    rank: int = 8
    alpha: float = 16.0
    targets: tuple[str, ...] = TARGETS
    rate: float = 1e-4
    beta: float = 0.1
    reference: str = "each"
    questions: int = 12
    max_tokens: int = 64
    options: dict[str, Any] = field(default_factory=dict)

    def write(self, path: Path) -> Path:
        path.write_text(json.dumps(asdict(self), indent=2), encoding="utf-8")
        return path

    @classmethod
    def read(cls, path: Path) -> Self:
        """Raises ValueError for a key that is not one of these: nothing is quietly ignored."""
        tree = _known(cls, json.loads(path.read_text(encoding="utf-8")))
        return cls(**{**tree, "targets": tuple(tree.get("targets", TARGETS))})


@dataclass(frozen=True)
class Outcome:
    """What a side did and what it cost.

    `seconds`: of the work itself, inside the process (training, or answering), start-up left out;
    the frame times the whole process. `step_seconds` and `losses`: one a step, where the side can
    tell. `rows`: sequences fed in training steps (a pair is two); for answers, answers given.
    `trained_tokens`: targets the loss was taken over (both answers of a pair); for answers, tokens
    generated. `loaded_rss`: bytes resident with the model loaded and every weight touched once;
    `peak_rss`: the process's largest. `parts`: seconds by name, where the side is made of parts.
    """

    seconds: float
    rows: int
    trained_tokens: int
    loaded_rss: int
    peak_rss: int
    step_seconds: list[float] | None = None
    losses: list[float] | None = None
    versions: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    parts: dict[str, float] = field(default_factory=dict)
    details: dict[str, Any] = field(default_factory=dict)

    def say(self) -> None:
        """As the last line of standard output."""
        print("\n" + json.dumps(asdict(self)), flush=True)

    @classmethod
    def heard(cls, output: str) -> Self:
        """Raises ValueError when the last line is not an outcome."""
        lines = output.strip().splitlines()
        if not lines:
            raise ValueError("the worker said nothing")
        return cls(**_known(cls, json.loads(lines[-1])))


def run(side: Callable[[Spec], Outcome]) -> None:
    """The `main` of a worker: SPEC.json is its only argument."""
    side(Spec.read(Path(sys.argv[1]))).say()


def _known(cls: Any, tree: dict[str, Any]) -> dict[str, Any]:
    unknown = sorted(set(tree) - {one.name for one in fields(cls)})
    if unknown:
        raise ValueError(f"not in a {cls.__name__}: {', '.join(unknown)}")
    return tree

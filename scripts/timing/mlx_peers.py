"""What the workers of MLX's peers share: the machine set up as mindprint sets it up, and a meter.

MLX is imported by `prepare` and not before: the order of imports decides which BLAS serves it, and
it reads its switches once.
"""

from __future__ import annotations

import json
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

from timing import work
from timing.protocol import Outcome, Spec

BIAS = "its AdamW leaves out Adam's bias correction"
HOMES = {"gate_proj": "mlp", "up_proj": "mlp", "down_proj": "mlp"}


def prepare(spec: Spec) -> Any:
    """BLAS, device, and on the CPU no `mx.compile` (it would call g++): as mindprint has them.

    Returns `mlx.core`. Threads are the process's environment, which `timing.process` sets.
    """
    from backends.mlx.framework import mx

    mx.set_default_device(mx.cpu if spec.device == "cpu" else mx.gpu)
    if spec.device == "cpu":
        mx.disable_compile()
    return mx


def versions(*packages: str) -> dict[str, str]:
    from backends.mlx import blas

    return {**work.versions("mlx", *packages), "blas": blas.version()}


@dataclass
class Meter:
    """What a peer was really fed, when it asked for each batch, and what it held when loaded."""

    fed: work.Work = field(default_factory=work.Work)
    padding: int = 0
    loaded: int = 0
    loaded_device: int = 0
    seconds: float = 0.0
    _asked: list[float] = field(default_factory=list)

    def load(self, model: Any) -> None:
        """Touch every weight of the loaded model, and note what the process then holds."""
        import mlx.core as mx

        mx.eval(model.parameters())
        self.loaded, self.loaded_device = work.resident(), mx.get_active_memory()

    @contextmanager
    def training(self) -> Iterator[None]:
        """Around the peer's own loop."""
        began = time.perf_counter()
        self._asked.append(began)
        yield
        ended = time.perf_counter()
        self.seconds = ended - began
        self._asked.append(ended)

    def outcome(self, notes: list[str], *packages: str) -> Outcome:
        """Of a peer's training, as it ends; `packages` are those whose versions count."""
        return Outcome(
            seconds=self.seconds,
            rows=self.fed.rows,
            trained_tokens=self.fed.tokens,
            loaded_rss=self.loaded,
            peak_rss=work.peak(),
            step_seconds=self.step_seconds(),
            versions=versions(*packages),
            notes=notes,
            details=self.details,
        )

    def asked(self) -> None:
        """The step before is done: the peer wants its next batch."""
        self._asked.append(time.perf_counter())

    @property
    def details(self) -> dict[str, Any]:
        """The checksum of what was fed; MLX's own count of bytes; threads of a matrix product."""
        import mlx.core as mx

        from backends.mlx import blas

        return {
            **self.fed.details,
            "threads": blas.threads(),
            "device_loaded": self.loaded_device,
            "device_peak": mx.get_peak_memory(),
        }

    def step_seconds(self) -> list[float]:
        """From one batch to the next; the last to the end of the loop, its saving included."""
        began, _, *later = self._asked  # the first batch is part of the first step
        return [after - before for before, after in pairwise([began, *later])]


def settings(spec: Spec) -> dict[str, Any]:
    """The configuration file of either trainer; nothing is saved before the end."""
    return {
        "model": spec.model,
        "data": str(training_data(spec)),
        "adapter_path": str(Path(spec.work) / "adapter"),
        "iters": spec.steps,
        "batch_size": spec.batch,
        "num_layers": -1,
        "learning_rate": spec.rate,
        "optimizer": "adamw",
        "optimizer_config": {"adamw": {"weight_decay": 0.0}},
        "lora_parameters": lora(spec),
        "steps_per_report": spec.steps,
        "save_every": spec.steps + 1,
        "seed": 0,
    }


def lora(spec: Spec) -> dict[str, Any]:
    """The peers call alpha over rank `scale`."""
    return {"rank": spec.rank, "scale": spec.alpha / spec.rank, "dropout": 0.0, "keys": keys(spec)}


def keys(spec: Spec) -> list[str]:
    """The adapted layers as paths inside a block."""
    return [f"{HOMES.get(target, 'self_attn')}.{target}" for target in spec.targets]


def training_data(spec: Spec) -> Path:
    """The rows without validation rows: the peers would run a validation at the first step."""
    folder = Path(spec.work) / "data"
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(Path(spec.data) / "train.jsonl", folder / "train.jsonl")
    return folder


def command(main: Callable[[], None], spec: Spec, told: dict[str, Any], *words: str) -> None:
    """Call a trainer's `main` as its command line would, with `told` as its configuration file."""
    path = Path(spec.work) / "peer.yaml"  # JSON is YAML
    path.write_text(json.dumps(told, indent=2), encoding="utf-8")
    before, sys.argv = sys.argv, ["peer", "--train", "--config", str(path), *words]
    try:
        main()
    finally:
        sys.argv = before

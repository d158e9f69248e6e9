"""How near a step comes to what the machine can do: its operations over the best product's rate."""

from __future__ import annotations

import shutil
from dataclasses import asdict, dataclass
from typing import Any, Self

from mindprint.memory.shape import Shape
from timing import flops
from timing.compare import Asked, model
from timing.process import timed
from timing.protocol import Spec

SQUARES = (1024, 2048)
TOKENS, TRAINED = 620, 240
"""Of a batch of four rows: about 155 tokens a row, 60 of them trained."""


@dataclass(frozen=True)
class Limit:
    """`rates`: GFLOP/s by product, of one backend's library on this machine."""

    backend: str
    size: str
    device: str
    dtype: str
    threads: int
    rates: dict[str, float]

    @property
    def key(self) -> tuple[str, ...]:
        return (self.size, self.backend, self.device, self.dtype, str(self.threads))

    @property
    def best(self) -> tuple[str, float]:
        """The fastest product and its rate."""
        return max(self.rates.items(), key=lambda item: item[1])

    def share(self, operations: float, seconds: float) -> float:
        """Of the best rate, that `operations` in `seconds` come to."""
        return operations / seconds / 1e9 / self.best[1]

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, tree: dict[str, Any]) -> Self:
        return cls(**tree)


def limit(backend: str, size: str, asked: Asked) -> Limit:
    """Measured in a process of its own. Raises WorkerFailed."""
    path = model(asked, size)
    work = asked.work / "side"
    shutil.rmtree(work, ignore_errors=True)
    spec = Spec(
        kind="products",
        model=str(path),
        data="",
        work=str(work),
        backend=backend,
        device=asked.device,
        dtype=asked.dtype,
        threads=asked.threads,
        options={"sizes": sizes(flops.Counted.read(path, Spec.rank, Spec.targets).shape)},
    )
    rates = timed("products", spec).outcome.details["rates"]
    return Limit(backend, size, asked.device, asked.dtype, asked.threads, rates)


def sizes(one: Shape) -> list[tuple[int, int, int]]:
    """[m, k] x [k, n]: squares, and the model's own products as a step of four rows has them."""
    own = [
        (TOKENS, one.hidden, one.queries),
        (TOKENS, one.hidden, one.inner),
        (TOKENS, one.inner, one.hidden),
        (TRAINED, one.hidden, one.vocabulary),
        (TRAINED, one.vocabulary, one.hidden),
    ]
    return [(side, side, side) for side in SQUARES] + own

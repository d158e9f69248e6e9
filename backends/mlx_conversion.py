"""What mlx-lm is asked to convert and what it made of it, between two processes."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

GROUPS = (64, 32)
"""Weights that share a scale: mlx-lm's own size, and the smallest that MLX's kernels take
everywhere. A layer whose rows are no multiple of it stays as it is."""


@dataclass(frozen=True)
class Conversion:
    """`source`: a folder of transformers'; `target`: not there yet; `dtype`: of what is not
    quantized; `bits`: of a quantized weight, None to quantize nothing."""

    source: Path
    target: Path
    dtype: str
    bits: int | None

    def write(self, file: Path) -> None:
        tree = {**asdict(self), "source": str(self.source), "target": str(self.target)}
        file.write_text(json.dumps(tree), "utf-8")

    @classmethod
    def read(cls, file: Path) -> Conversion:
        tree = json.loads(file.read_text("utf-8"))
        return cls(Path(tree["source"]), Path(tree["target"]), tree["dtype"], tree["bits"])


@dataclass(frozen=True)
class Converted:
    """`group`: weights that share a scale; `left`: layers that could not be quantized with it;
    `bits_per_weight`: over all weights, scales included; `version`: of the libraries."""

    group: int | None
    left: tuple[str, ...]
    bits_per_weight: float
    version: str

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def read(cls, file: Path) -> Converted:
        tree = json.loads(file.read_text("utf-8"))
        return cls(tree["group"], tuple(tree["left"]), tree["bits_per_weight"], tree["version"])


def quantizable(shapes: Iterable[tuple[int, ...]]) -> bool:
    """Whether any matrix of these shapes, [out, in], can be quantized at all."""
    return any(len(shape) == 2 and shape[-1] % min(GROUPS) == 0 for shape in shapes)

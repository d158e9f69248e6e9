"""A model's sizes as memory goes by them, off the headers of its files and its configuration."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path

from backends import lora
from backends.model_files import read_config
from backends.weight_files import Held, headers
from mindprint.footprint import EMBEDDING, HEAD, Sizes, is_named

BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}
STORED = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2}
LAYER = re.compile(r"\.layers\.(\d+)\.")
HEAD_DIM = 64
"""Where neither the configuration nor the shapes tell the width of an attention head."""


@dataclass(frozen=True)
class Shape:
    """`inner` is the width of the feed-forward layers, `queries` and `keys` the widths of all
    query heads and of all key heads together. `stored`: bytes of the weights in their files."""

    parameters: int
    stored: int
    hidden: int
    inner: int
    layers: int
    heads: int
    queries: int
    keys: int
    vocabulary: int

    def weights(self, dtype: str) -> int:
        """Bytes of the weights in memory."""
        return self.parameters * BYTES[dtype]


@dataclass(frozen=True)
class Factors:
    """An adapter: `numbers` in all its tensors, `rank`, and per token of the whole model `inputs`
    and `outputs`, the widths of the layers it is attached to, summed."""

    numbers: int
    rank: int
    inputs: int
    outputs: int
    layers: int

    @property
    def bytes(self) -> int:
        """Adapters are float32 everywhere."""
        return 4 * self.numbers


def read_shape(folder: Path, sizes: Sizes) -> Shape:
    """`sizes` are the same folder's. Raises ModelError."""
    held, config = headers(folder), read_config(folder)
    vocabulary, hidden = _embedding(held)
    numbers = [int(found.group(1)) for name in held if (found := LAYER.search(name))]
    leaves: dict[str, tuple[int, int]] = {}
    for path, shape in sizes.linears.items():
        leaves[path.rsplit(".", 1)[-1]] = shape
    queries = leaves.get("o_proj", (hidden, hidden))[1]
    fused = leaves.get("qkv_proj", (3 * queries, hidden))[0]
    keys = leaves.get("k_proj", ((fused - queries) // 2, hidden))[0]
    heads = int(config.get("num_attention_heads") or max(1, queries // HEAD_DIM))
    stored = sum(prod(one.shape) * STORED.get(one.dtype, 4) for one in held.values())
    return Shape(
        parameters=sizes.parameters,
        stored=stored,
        hidden=hidden,
        inner=leaves.get("down_proj", (hidden, 4 * hidden))[1],
        layers=max(numbers, default=0) + 1,
        heads=heads,
        queries=queries,
        keys=keys,
        vocabulary=vocabulary,
    )


def factors(sizes: Sizes, rank: int, targets: str | tuple[str, ...]) -> Factors:
    """Of an adapter on the layers that `targets` pick. Raises AdapterError."""
    chosen = [sizes.linears[path] for path in lora.select(sizes.linears, targets)]
    outputs, inputs = (sum(shape[side] for shape in chosen) for side in (0, 1))
    return Factors(rank * (outputs + inputs), rank, inputs, outputs, len(chosen))


def _embedding(held: Mapping[str, Held]) -> tuple[int, int]:
    """(vocabulary, hidden) off the embedding, or the head where a file has that alone."""
    for name in (EMBEDDING, HEAD):
        for tensor, one in held.items():
            if is_named(tensor, name) and len(one.shape) == 2:
                return one.shape[0], one.shape[1]
    shapes = [one.shape for one in held.values() if len(one.shape) == 2]
    return max(shapes, key=prod, default=(1, 1))

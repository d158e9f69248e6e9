"""A model's sizes as memory goes by them, off the headers of its files and its configuration."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from math import prod
from pathlib import Path

from backends import lora
from backends.contract import AdapterSpec
from backends.model_files import read_config
from backends.packed_files import Stored, weights
from backends.weight_files import headers
from mindprint.footprint import EMBEDDING, HEAD, Sizes, is_named

BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}
STORED = {"F64": 8, "F32": 4, "U32": 4, "F16": 2, "BF16": 2}
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
    and `outputs`, the widths of the layers it is attached to, summed. `norms`: operations
    that the norms of DoRA's rows take in one pass."""

    numbers: int
    rank: int
    inputs: int
    outputs: int
    layers: int
    kind: str = "lora"
    norms: int = 0

    @property
    def bytes(self) -> int:
        """Adapters are float32 everywhere."""
        return 4 * self.numbers


def read_shape(folder: Path, sizes: Sizes) -> Shape:
    """`sizes` are the same folder's. Raises ModelError."""
    held, config = weights(folder), read_config(folder)
    vocabulary, hidden = _embedding(held)
    numbers = [int(found.group(1)) for name in held if (found := LAYER.search(name))]
    leaves: dict[str, tuple[int, int]] = {}
    for path, shape in sizes.linears.items():
        leaves[path.rsplit(".", 1)[-1]] = shape
    queries = leaves.get("o_proj", (hidden, hidden))[1]
    fused = leaves.get("qkv_proj", (3 * queries, hidden))[0]
    keys = leaves.get("k_proj", ((fused - queries) // 2, hidden))[0]
    inner = config.get("text_config") or config
    heads = int(inner.get("num_attention_heads") or max(1, queries // HEAD_DIM))
    stored = sum(prod(one.shape) * STORED.get(one.dtype, 1) for one in headers(folder).values())
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


def factors(sizes: Sizes, spec: AdapterSpec) -> Factors:
    """Of an adapter on the layers that its targets pick. Raises AdapterError."""
    chosen = [sizes.linears[path] for path in lora.select(sizes.linears, spec.targets)]
    outputs, inputs = (sum(shape[side] for shape in chosen) for side in (0, 1))
    return Factors(
        numbers=sum(_numbers(spec, *shape) for shape in chosen),
        rank=spec.rank,
        inputs=inputs,
        outputs=outputs,
        layers=len(chosen),
        kind=spec.kind,
        norms=sum(_norms(spec.rank, *shape) for shape in chosen) if spec.kind == "dora" else 0,
    )


@lru_cache
def _numbers(spec: AdapterSpec, out: int, inputs: int) -> int:
    """In an adapter's tensors on one layer."""
    return sum(map(prod, lora.shapes(spec, "", out, inputs).values()))


def _norms(rank: int, out: int, inputs: int) -> int:
    """W A^T, A A^T and B times that: the norms of W + B A without the sum of the two."""
    return 2 * rank * (out * inputs + rank * inputs + rank * out)


def _embedding(held: Mapping[str, Stored]) -> tuple[int, int]:
    """(vocabulary, hidden) off the embedding, or the head where a file has that alone."""
    for name in (EMBEDDING, HEAD):
        for tensor, one in held.items():
            if is_named(tensor, name) and len(one.shape) == 2:
                return one.shape[0], one.shape[1]
    shapes = [one.shape for one in held.values() if len(one.shape) == 2]
    return max(shapes, key=prod, default=(1, 1))

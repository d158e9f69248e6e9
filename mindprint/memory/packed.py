"""Bytes of packed weights, as the files hold them or as a backend will pack them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import ceil, prod

from backends.mlx_conversion import GROUPS
from backends.packed_files import Stored
from mindprint.footprint import Sizes
from mindprint.memory.shape import BYTES, Shape

BITS = {"4bit": 4, "8bit": 8}
BLOCK, NESTED = 64, 256
"""Of NF4 as bitsandbytes packs it: numbers that share a scale, and scales that share theirs."""
TABLE = 4 * 256 + 4
"""Bytes of the scales' own code and their offset, for each weight."""


@dataclass(frozen=True)
class Packed:
    """Of all packed weights of a model together: the `numbers` that they stand for; `bytes` of them
    and of what unpacks them, but for `floats`, which are held in the working precision;
    `at_once`: the numbers that are alive unpacked while a layer works."""

    numbers: int = 0
    bytes: int = 0
    floats: int = 0
    at_once: int = 0

    @classmethod
    def stored(cls, held: Mapping[str, Stored], backend: str) -> Packed:
        """As the files hold it; nothing where they hold plain numbers."""
        found = [one for one in held.values() if one.packed]
        return _together(
            [(prod(one.shape), one.packed, one.floats) for one in found], unpacks=backend == "torch"
        )

    @classmethod
    def planned(cls, sizes: Sizes, shape: Shape, backend: str, quantization: str) -> Packed:
        """As `backend` packs the weights of `sizes` when it opens them: MLX embedding and head too,
        and no rows that fill no group."""
        if quantization == "none":
            return cls()
        bits, linears = BITS[quantization], sizes.linears.values()
        if backend == "torch":
            size = _nf4 if bits == 4 else _int8
            return _together([(o * i, size(o, i), 0) for o, i in linears], unpacks=True)
        held = sum(map(prod, linears))
        tables = (sizes.parameters - held) // (shape.vocabulary * shape.hidden)
        whole = [*linears, *[(shape.vocabulary, shape.hidden)] * tables]
        parts = []
        for out, inputs in whole:
            group = next((group for group in GROUPS if inputs % group == 0), None)
            if group is not None:
                parts.append((out * inputs, out * inputs * bits // 8, 2 * out * inputs // group))
        return _together(parts, unpacks=False)

    def weights(self, parameters: int, dtype: str) -> int:
        """Bytes of all weights in memory, of a model of so many `parameters`."""
        return self.bytes + (parameters - self.numbers + self.floats) * BYTES[dtype]

    def unpacked(self, dtype: str) -> int:
        """Bytes of the weight that is unpacked while its layer works."""
        return self.at_once * BYTES[dtype]


def _together(parts: Iterable[tuple[int, int, int]], *, unpacks: bool) -> Packed:
    found = Packed()
    for numbers, size, floats in parts:
        found = Packed(
            numbers=found.numbers + numbers,
            bytes=found.bytes + size,
            floats=found.floats + floats,
            at_once=max(found.at_once, numbers) if unpacks else 0,
        )
    return found


def _nf4(out: int, inputs: int) -> int:
    blocks = ceil(out * inputs / BLOCK)
    return ceil(out * inputs / 2) + blocks + 4 * ceil(blocks / NESTED) + TABLE


def _int8(out: int, inputs: int) -> int:
    return out * inputs + 4 * out

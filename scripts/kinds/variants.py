"""The adapters that are compared, and the ranks at which they have as many parameters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from math import prod
from typing import Literal

from backends import lora
from backends.contract import AdapterSpec, Spline

Kind = Literal["lora", "dora", "lslora"]

APART = 0.01
"""Share by which counts of parameters may differ and still be called equal."""
PENALTY = 0.01
MOST = 256
"""The largest rank that is tried."""


@dataclass(frozen=True)
class Variant:
    """`settings`: keys below `adapter` besides kind, rank and alpha."""

    name: str
    title: str
    kind: Kind
    settings: Mapping[str, str | float]


def variants() -> tuple[Variant, ...]:
    """LoRA, which the others are held against, DoRA, and LS-LoRA in every form."""
    found = [Variant("lora", "LoRA", "lora", {}), Variant("dora", "DoRA", "dora", {})]
    forms = product(("piecewise", "soft"), ("linear", "clamp"), (PENALTY, 0.0))
    for interpolation, outside, penalty in forms:
        free = "" if penalty else ", free"
        found.append(
            Variant(
                name=f"lslora-{interpolation}-{outside}{'' if penalty else '-free'}",
                title=f"LS-LoRA, {interpolation}, {outside}{free}",
                kind="lslora",
                settings={
                    "interpolation": interpolation,
                    "outside": outside,
                    "identity_penalty": penalty,
                },
            )
        )
    return tuple(found)


def parameters(kind: Kind, rank: int, linears: Mapping[str, tuple[int, int]]) -> int:
    """How many numbers such an adapter trains. `linears`: (out, in) of each layer."""
    spec = AdapterSpec(rank=rank, kind=kind, spline=Spline() if kind == "lslora" else None)
    return sum(
        prod(shape)
        for path, (out, inputs) in linears.items()
        for shape in lora.shapes(spec, path, out, inputs).values()
    )


def equal_ranks(
    kinds: Sequence[Kind], least: int, linears: Mapping[str, tuple[int, int]]
) -> dict[Kind, int]:
    """The smallest rank of LoRA from `least` on at which every kind has a rank of its own with as
    many parameters, to APART. Raises ValueError where there is none up to the model's width."""
    for rank in range(least, MOST + 1):
        wanted = parameters("lora", rank, linears)
        found = {kind: _nearest(kind, rank, wanted, linears) for kind in kinds}
        counts = [parameters(kind, own, linears) for kind, own in found.items()]
        if max(counts) - min(counts) <= APART * wanted:
            return found
    raise ValueError(f"no rank from {least} to {MOST} gives all kinds as many parameters")


def _nearest(kind: Kind, rank: int, wanted: int, linears: Mapping[str, tuple[int, int]]) -> int:
    """What a kind has beside its factors is worth a rank or two."""
    return min(
        range(max(1, rank - 2), rank + 1),
        key=lambda own: abs(parameters(kind, own, linears) - wanted),
    )

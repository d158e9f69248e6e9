"""Several adapters over one layer, closed into one: y = c (W0 x) + B (A x) + branches, in float64.

A `lora` adds its factors to B A. A `dora` multiplies what is there, with its own factors, by g = m
over the norm of each row: c becomes g c, and B becomes g B. An `lslora` is one more branch
x -> s_out phi(s_in factor B A x), outside every norm. The backends do the same in float32 as they
run; here it is worked out for files: exports, topics that are dropped, distances between runs.

A of a chain is a basis of all directions that its adapters look in. Of W0 no more is needed than
what it does in them, and how long the rest of each of its rows is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from backends import spline
from backends.contract import AdapterSpec, Params, Spline
from backends.errors import AdapterError
from backends.lora import name_a, name_b, name_m, name_s, name_v, paths_of

Wide = NDArray[np.float64]

Held = tuple[AdapterSpec, Params]
"""An adapter as its files have it: spec, and tensors by contract name."""

Rows = Callable[[str], Iterable[NDArray[np.floating]]]
"""The rows of a layer's W0 by its path, some [rows, in] at a time from the first to the last."""

Sum = Sequence[tuple[Sequence[Held], float]]
"""Weights that are added up: those that adapters make of the base's, in their order, and how many
times they count."""


@dataclass(frozen=True)
class Branch:
    """x -> s_out phi(s_in B A x) of an LS-LoRA, its factor in `b`; `scales` are s_in and s_out."""

    spline: Spline
    a: Wide
    b: Wide
    values: Wide
    scales: Wide

    @property
    def slope(self) -> float | None:
        """What B A is multiplied by where phi is linear everywhere; None where it bends."""
        found = spline.linear(self.values, self.spline)
        return None if found is None else found * float(self.scales[0] * self.scales[1])


@dataclass(frozen=True)
class Chain:
    """`c` [out], None where it is 1 throughout; `a` [rank, in] and `b` [out, rank], of rank 0 where
    nothing is added."""

    c: Wide | None
    a: Wide
    b: Wide
    branches: tuple[Branch, ...] = ()

    @property
    def scaled(self) -> Wide:
        """c, written out."""
        return np.ones(len(self.b)) if self.c is None else self.c


@dataclass(frozen=True)
class Layer:
    """One layer under adapters, of `out` outputs. `a` [rank, in]: orthonormal, all directions of
    theirs. `along` [out, rank]: W0 A^T; `across` [out]: the squared norm of each row of W0 in all
    other directions. Both are None where W0 was not asked for, since none of them is a `dora`."""

    path: str
    out: int
    a: Wide
    along: Wide | None = None
    across: Wide | None = None

    @classmethod
    def of(cls, path: str, adapters: Iterable[Held], rows: Rows) -> Layer:
        """`adapters`: all that will be closed in it, in any order; one at least acts here."""
        here = {id(held): (spec, held) for spec, held in adapters if name_a(path) in held}
        added = [held[name_a(path)] for spec, held in here.values() if spec.spline is None]
        factors = [held[name_a(path)] for _, held in here.values()]
        out = next(len(held[name_b(path)]) for _, held in here.values())
        a = directions(added) if added else np.zeros((0, factors[0].shape[1]))
        if any(spec.kind == "dora" for spec, _ in here.values()):
            return cls.seeing(path, a, rows)
        return cls(path, out, a)

    @classmethod
    def seeing(cls, path: str, a: Wide, rows: Rows) -> Layer:
        """With what W0 does in the directions of `a`, which are orthonormal."""
        along, across = zip(*(_seen(block, a) for block in rows(path)), strict=True)
        met = np.concatenate(along)
        return cls(path, len(met), a, met, np.concatenate(across))

    def closed(self, adapters: Iterable[Held]) -> Chain:
        """The adapters that act here, in their order."""
        c: Wide | None = None
        b = np.zeros((self.out, len(self.a)))
        branches: list[Branch] = []
        for spec, tensors in adapters:
            if name_a(self.path) not in tensors:
                continue
            if spec.spline is not None:
                branches.append(_branch(self.path, spec, spec.spline, tensors))
                continue
            seen = tensors[name_a(self.path)].astype(np.float64) @ self.a.T
            b = b + _factor(self.path, spec, tensors) @ seen
            if spec.kind == "dora":
                g = self._ratio(tensors[name_m(self.path)], c, b)
                c, b = g if c is None else g * c, g[:, None] * b
        return Chain(c, self.a, b, tuple(branches))

    def squares(self, c: Wide, b: Wide) -> Wide:
        """The squared norm of each row of c W0 + B A, [out]: a sum of squares, so that a small one
        is not lost to cancellation."""
        if self.along is None or self.across is None:
            raise ValueError(f"the rows of `{self.path}` were not asked for")
        inside: Wide = np.square(c[:, None] * self.along + b).sum(axis=1)
        return inside + np.square(c) * self.across

    def square(self, chains: Iterable[tuple[Chain, float]]) -> float:
        """The squared Frobenius norm of the sum of the weights of `chains`, each times its number,
        branches left out."""
        c, b = np.zeros(self.out), np.zeros((self.out, len(self.a)))
        for chain, times in chains:
            c, b = c + times * chain.scaled, b + times * chain.b
        if self.along is None and not c.any():
            return float(np.square(b).sum())
        return float(self.squares(c, b).sum())

    def as_dora(self, chain: Chain) -> tuple[Wide, Wide]:
        """B [out, rank] and m [out] of the one DoRA of factor 1 that does what the chain does to
        the weight: B / c, and c times the norm of W0 + B A / c.

        Raises AdapterError where a c is 0, under which W0 plays no part, or so near to it that
        float32 does not hold B / c.
        """
        c = chain.scaled
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            b = chain.b / c[:, None]
        m = np.sign(c) * np.sqrt(self.squares(c, chain.b))
        largest = np.maximum(np.abs(b).max(axis=1, initial=0.0), np.abs(m))
        # What is no number is not below the limit either.
        held = (c != 0) & (largest <= np.finfo(np.float32).max)
        if not held.all():
            raise self._no_dora(int(np.argmin(held)), c)
        return b, m

    def _no_dora(self, row: int, c: Wide) -> AdapterError:
        told = (
            "has a magnitude of 0, so that its weight plays no part, and no one DoRA does the same"
        )
        if c[row]:
            told = (
                f"is scaled by {c[row]:.3g}: float32 does not hold the one DoRA that does the same"
            )
        hint = "export a merged model: `--to merged`"
        return AdapterError(f"row {row} of `{self.path}` {told}", hint=hint)

    def _ratio(self, magnitude: NDArray[np.float32], c: Wide | None, b: Wide) -> Wide:
        """g; a row of zeros stays one, whatever its magnitude."""
        norms = np.sqrt(self.squares(np.ones(self.out) if c is None else c, b))
        wide = magnitude.astype(np.float64)
        return np.divide(wide, norms, out=np.ones_like(wide), where=norms > 0)


def norms(sums: Sequence[Sum], rows: Rows) -> list[float]:
    """The Frobenius norm of each sum over all layers, branches left out; W0 is gone through once
    for all of them, where a `dora` is among the adapters, and else not asked for."""
    everything = [one for found in sums for adapters, _ in found for one in adapters]
    paths = dict.fromkeys(path for _, tensors in everything for path in paths_of(tensors))
    totals = [0.0] * len(sums)
    for path in paths:
        layer = Layer.of(path, everything, rows)
        for place, found in enumerate(sums):
            totals[place] += layer.square((layer.closed(own), times) for own, times in found)
    return [float(np.sqrt(total)) for total in totals]


def directions(factors: Sequence[NDArray[np.floating]]) -> Wide:
    """An orthonormal basis [rank, in] of the rows of `factors`, each [some, in]: of no more rows
    than they span."""
    rows = np.concatenate(factors).astype(np.float64)
    _, values, right = np.linalg.svd(rows, full_matrices=False)
    least = values.max(initial=0.0) * np.finfo(np.float64).eps * max(rows.shape)
    found: Wide = right[values > least]
    return found


def straight(held: Held) -> Held | None:
    """An LS-LoRA whose phi is linear in every layer as the LoRA that it is, and one of another kind
    as it is; None where a phi bends."""
    if held[0].spline is None:
        return held
    found = slopes(held)
    known = {path: slope for path, slope in found.items() if slope is not None}
    return sloped(held, known) if len(known) == len(found) else None


def slopes(held: Held) -> dict[str, float | None]:
    """What B A of each layer of an LS-LoRA is multiplied by, None where its phi bends; {} of
    another kind."""
    spec, tensors = held
    if spec.spline is None:
        return {}
    return {path: _branch(path, spec, spec.spline, tensors).slope for path in paths_of(tensors)}


def sloped(held: Held, by: Mapping[str, float]) -> Held:
    """An LS-LoRA as a LoRA, B A of each layer multiplied by its slope."""
    spec, tensors = held
    made: Params = {}
    for path in paths_of(tensors):
        wide = tensors[name_b(path)].astype(np.float64) * by[path]
        made |= {name_a(path): tensors[name_a(path)], name_b(path): wide.astype(np.float32)}
    return replace(spec, kind="lora", spline=None), made


def _factor(path: str, spec: AdapterSpec, tensors: Params) -> Wide:
    """B with the adapter's factor in it."""
    found: Wide = spec.scale * tensors[name_b(path)].astype(np.float64)
    return found


def _branch(path: str, spec: AdapterSpec, own: Spline, tensors: Params) -> Branch:
    return Branch(
        spline=own,
        a=tensors[name_a(path)].astype(np.float64),
        b=_factor(path, spec, tensors),
        values=tensors[name_v(path)].astype(np.float64),
        scales=tensors[name_s(path)].astype(np.float64),
    )


def _seen(block: NDArray[np.floating], a: Wide) -> tuple[Wide, Wide]:
    """Of some rows of W0: what they do in the directions of `a`, and the squared norm of the
    rest."""
    wide = block.astype(np.float64)
    along: Wide = wide @ a.T
    rest = wide - along @ a
    return along, np.square(rest).sum(axis=1)

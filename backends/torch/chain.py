"""Adapters over one layer, closed into one: y = c (W0 x) + B (A x) + bias + branches, in float32.

A `lora` joins its factors to A and B. A `dora` multiplies all that is there by g, its magnitudes
over the norms of the rows: c becomes g c, and B becomes g B. An `lslora` is one more branch
x -> s_out phi(s_in factor B A x), outside every norm. `backends.chain` is the same for files.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import torch
from torch.nn import functional

from backends import spline
from backends.contract import Spline
from backends.torch.base_weight import squares, times
from backends.torch.products import Pair
from backends.torch.spline import bent


@dataclass(frozen=True, eq=False)
class Entry:
    """One adapter on one layer, in float32: A [rank, in], B [out, rank] with its factor folded in,
    and what its kind has beside them: magnitudes [out], or a spline with its values [knots] and
    scales [2]."""

    a: Any
    b: Any
    magnitudes: Any = None
    spline: Spline | None = None
    values: Any = None
    scales: Any = None

    def to(self, device: Any) -> Entry:
        names = ("a", "b", "magnitudes", "values", "scales")
        held = {name: getattr(self, name) for name in names}
        return replace(self, **{n: None if t is None else t.to(device) for n, t in held.items()})

    @cached_property
    def slope(self) -> float | None:
        """What B A is multiplied by: 1 without a spline, None where the spline bends."""
        if self.spline is None:
            return 1.0
        found = spline.linear(self.values.cpu().numpy(), self.spline)
        return None if found is None else found * float(self.scales[0]) * float(self.scales[1])

    def branch(self, x: Any) -> Any:
        """s_out phi(s_in B (A x)), in the type of `x`."""
        if self.spline is None:
            raise ValueError("only an adapter with a spline is a branch")
        return bent(across(x, (self.a, self.b)), self.values, self.scales, self.spline)


@dataclass(frozen=True, eq=False)
class Chain:
    """`c` [out], None where it is 1 throughout; `pair` are A and B, None where nothing is added.
    The weight P that its norms are of is c W0 + B A, without the branches."""

    c: Any = None
    pair: Pair | None = None
    branches: tuple[Entry, ...] = ()

    def joined(self, entry: Entry, linear: Any) -> Chain:
        """This one with `entry` over it; `linear` is the layer of W0."""
        if entry.spline is not None:
            return replace(self, branches=(*self.branches, entry))
        a, b = entry.a, entry.b
        if self.pair is not None:
            a, b = torch.cat([self.pair[0], a]), torch.cat([self.pair[1], b], dim=1)
        if entry.magnitudes is None:
            return replace(self, pair=(a, b))
        with torch.no_grad():
            total = self.squares(linear) + self.gained(linear, entry.a, entry.b)
            g = stretch(entry.magnitudes, norms(total))
            return replace(self, c=g if self.c is None else g * self.c, pair=(a, g[:, None] * b))

    def squares(self, linear: Any) -> Any:
        """[out]: the squared norm of each row of P, outside any graph and without P itself."""
        with torch.no_grad():
            found = squares(linear) if self.c is None else self.c.square() * squares(linear)
            if self.pair is None:
                return found
            return found + Chain(self.c).gained(linear, *self.pair)

    def gained(self, linear: Any, a: Any, b: Any) -> Any:
        """[out]: by how much B A of `a` and `b` changes these; exactly 0 where B is."""
        with torch.no_grad():
            seen = times(linear, a)
            if self.c is not None:
                seen = self.c[:, None] * seen
            if self.pair is not None:
                seen = seen + self.pair[1] @ (self.pair[0] @ a.t())
            return (2.0 * seen + b @ (a @ a.t())).mul_(b).sum(dim=1)

    def beside(self, y: Any, x: Any) -> Any:
        """y and the branches of x."""
        for entry in self.branches:
            y = y + entry.branch(x)
        return y


EMPTY = Chain()


def chained(entries: Iterable[Entry], linear: Any) -> Chain:
    """All `entries` over `linear`, in their order."""
    found = EMPTY
    for entry in entries:
        found = found.joined(entry, linear)
    return found


def norms(total: Any) -> Any:
    """Of squared norms, of which rounding may leave less than nothing."""
    return total.clamp_min(0.0).sqrt()


def stretch(magnitudes: Any, lengths: Any) -> Any:
    """What DoRA multiplies each row by. A row of zeros stays one, whatever its magnitude."""
    return magnitudes / lengths.masked_fill(lengths == 0, torch.inf)


def across(x: Any, pair: Pair) -> Any:
    """B (A x) of frozen factors, in the type of `x`."""
    a, b = pair
    return functional.linear(functional.linear(x, a.to(x.dtype)), b.to(x.dtype))

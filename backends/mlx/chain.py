"""The frozen past of a layer: (c, A, B, branches), to which every kind of adapter adds in order."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from backends.mlx.dora import Ground, stretch
from backends.mlx.framework import mx
from backends.mlx.spline import Curve


@dataclass(frozen=True)
class Entry:
    """What one adapter holds for a layer: A [rank, in] and B [out, rank] with its factor folded in,
    and beside them DoRA's magnitudes [out] or LS-LoRA's curve."""

    a: mx.array
    b: mx.array
    magnitudes: mx.array | None = None
    curve: Curve | None = None

    def __call__(self, x: mx.array) -> mx.array:
        """B (A x), through the curve where there is one."""
        z = low_rank(x, self.a, self.b)
        return z if self.curve is None else self.curve(z)

    def rounded(self, dtype: mx.Dtype) -> Entry:
        """Its factors in `dtype`; magnitudes and curve stay float32."""
        return replace(self, a=self.a.astype(dtype), b=self.b.astype(dtype))


@dataclass(frozen=True)
class Chain:
    """y = c (W0 x) + B (A x) + bias + the branches of x. c float32 [out], or None for ones; A
    [sum of ranks, in] and B [out, sum of ranks], or None."""

    c: mx.array | None
    a: mx.array | None
    b: mx.array | None
    branches: tuple[Entry, ...]

    def rounded(self, dtype: mx.Dtype) -> Chain:
        """As it acts on activations of `dtype`, evaluated. c stays as it is."""
        made = Chain(
            self.c,
            None if self.a is None else self.a.astype(dtype),
            None if self.b is None else self.b.astype(dtype),
            tuple(entry.rounded(dtype) for entry in self.branches),
        )
        mx.eval([array for array in (made.a, made.b) if array is not None])
        mx.eval([(entry.a, entry.b) for entry in made.branches])
        return made


def compose(entries: Sequence[Entry], linear: Any, squares: Callable[[], mx.array]) -> Chain | None:
    """The chain of `entries` over a layer, float32 and evaluated; None where there are none.
    `squares` gives the squared norms of the layer's rows, asked for where there is a DoRA."""
    if not entries:
        return None
    c: mx.array | None = None
    a: list[mx.array] = []
    b: list[mx.array] = []
    for entry in entries:
        if entry.curve is not None:
            continue
        a, b = [*a, entry.a], [*b, entry.b]
        if entry.magnitudes is not None:
            down, up = mx.concatenate(a, axis=0), mx.concatenate(b, axis=1)
            ground = Ground.over(linear, squares(), c, down, up)
            gain = stretch(entry.magnitudes, ground.norms())
            c = gain if c is None else gain * c
            a, b = [down], [gain[:, None] * up]
            mx.eval(c, a, b)
    branches = tuple(entry for entry in entries if entry.curve is not None)
    if not a:
        return Chain(c, None, None, branches)
    # One A and one B: exact, and one product for all.
    down, up = mx.concatenate(a, axis=0), mx.concatenate(b, axis=1)
    mx.eval(down, up)
    return Chain(c, down, up, branches)


def low_rank(x: mx.array, a: mx.array, b: mx.array) -> mx.array:
    """B (A x) in the precision of x [..., in]; a [rank, in], b [out, rank]."""
    return (x @ a.astype(x.dtype).T) @ b.astype(x.dtype).T

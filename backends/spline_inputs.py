"""What reaches the spline of an LS-LoRA layer: where on its grid, and how phi bends it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class SplineInputs:
    """Of one layer, over the real tokens of a batch (no padding) and all outputs.

    `counts` int64 [knots + 1]: how many inputs u = s_in z lie below the grid, on each of its pieces
    and above it. `squares` is the sum of z^2, `products` that of z s_out phi(s_in z), z being
    factor B A x: their quotient is the slope of the line through 0 that fits the layer's bend best.
    """

    counts: NDArray[np.int64]
    squares: float
    products: float

    @classmethod
    def counted(
        cls, seen: int, above: Sequence[int], squares: float, products: float
    ) -> SplineInputs:
        """`above`: of `seen` inputs, how many are above each knot."""
        edges = np.array([seen, *above, 0], dtype=np.int64)
        return cls(-np.diff(edges), squares, products)

    def __add__(self, other: SplineInputs) -> SplineInputs:
        return SplineInputs(
            self.counts + other.counts,
            self.squares + other.squares,
            self.products + other.products,
        )

    @property
    def outside(self) -> float:
        """The share of inputs outside the grid."""
        return float(self.counts[0] + self.counts[-1]) / max(1, int(self.counts.sum()))

    def on_pieces(self, first: int, last: int) -> float:
        """The share of inputs on the pieces `first` to `last` of the grid, counted from 0."""
        return float(self.counts[first + 1 : last + 2].sum()) / max(1, int(self.counts.sum()))

    @property
    def slope(self) -> float | None:
        """By least squares; None where every z is 0."""
        return self.products / self.squares if self.squares else None

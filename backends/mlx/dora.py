"""DoRA's norms without a dense sum, and what its magnitudes do to a layer's output.

With P = c W0 + B A the squared norms of the rows of P + b a are those of P, plus twice the row sums
of (P a^T) * b, plus those of (b (a a^T)) * b: of the base weight only W0 a^T is asked, one product
with `rank` rows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

from backends.mlx import base_weight
from backends.mlx.framework import mx


@dataclass(frozen=True)
class Ground:
    """What a DoRA goes over in a layer: P = c W0 + B A, without the branches; all float32. c [out]
    or None for ones, A [rank, in] and B [out, rank] or None. `squares` [out]: of P's rows."""

    linear: Any
    c: mx.array | None
    a: mx.array | None
    b: mx.array | None
    squares: mx.array

    @classmethod
    def over(
        cls,
        linear: Any,
        squares: mx.array,
        c: mx.array | None,
        a: mx.array | None,
        b: mx.array | None,
    ) -> Ground:
        """`squares` [out]: the squared norms of W0's rows."""
        scaled = cls(linear, c, None, None, squares if c is None else mx.square(c) * squares)
        if a is None or b is None:
            return scaled
        return cls(linear, c, a, b, scaled._grown(a, b))

    def norms(self) -> mx.array:
        """Of P's rows, float32 [out]."""
        return _roots(self.squares)

    def norms_with(self, a: mx.array, b: mx.array) -> mx.array:
        """Of the rows of P + b a, float32 [out]: a constant to the gradient (DoRA, section 4.3)."""
        return _roots(self._grown(mx.stop_gradient(a), mx.stop_gradient(b)))

    def _grown(self, a: mx.array, b: mx.array) -> mx.array:
        """Where b is zero these are `squares` to the last bit, so that a fresh adapter changes
        nothing."""
        crossed = (self._times(a) * b).sum(axis=1)
        return self.squares + 2.0 * crossed + ((b @ (a @ a.T)) * b).sum(axis=1)

    def _times(self, a: mx.array) -> mx.array:
        """P a^T, [out, rank]."""
        found = base_weight.times(self.linear, a)
        if self.c is not None:
            found = self.c[:, None] * found
        if self.a is not None and self.b is not None:
            found = found + self.b @ (self.a @ a.T)
        return found


def stretch(magnitudes: mx.array, norms: mx.array) -> mx.array:
    """g [out]: what DoRA multiplies each row by. A row of zeros stays one."""
    return magnitudes / mx.where(norms == 0.0, mx.inf, norms)


def _roots(squares: mx.array) -> mx.array:
    """Rounding may leave less than nothing of a row."""
    return mx.sqrt(mx.maximum(squares, 0.0))


def lifted(x: mx.array, lift: mx.array) -> mx.array:
    """lift * x in the precision of x [..., out], for `lift` float32 [out]: a factor less 1, since
    next to 1 bfloat16 tells no two factors apart."""
    return cast(mx.array, _lifted(x, lift))


@mx.custom_function
def _lifted(x: mx.array, lift: mx.array) -> mx.array:
    return x * lift.astype(x.dtype)


@_lifted.vjp
def _lifted_back(
    given: tuple[mx.array, mx.array], above: mx.array, made: mx.array
) -> tuple[mx.array, mx.array]:
    """The sum over tokens in float32: in bfloat16 it would stand still after a few hundred."""
    x, lift = given
    products = above.astype(mx.float32) * x.astype(mx.float32)
    return above * lift.astype(above.dtype), products.reshape(-1, len(lift)).sum(axis=0)

"""Intervals and tests by formula, nothing resampled: a share, a table of turns, many p-values."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist

from mindprint.report.scores import Interval

Z_TWO_SIDED = NormalDist().inv_cdf(0.975)


def wilson(right: float, n: int) -> Interval:
    """A share with its 95 % score interval (Wilson 1927); `right` of `n` need not be whole.

    Raises ValueError unless 0 <= right <= n and n >= 1.
    """
    if n < 1 or not 0 <= right <= n:
        raise ValueError(f"a share of {right} among {n} is none")
    share, z2 = right / n, Z_TWO_SIDED**2
    centre = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = Z_TWO_SIDED / (1 + z2 / n) * math.sqrt(share * (1 - share) / n + z2 / (4 * n * n))
    # At the ends the bound is exact, and rounding must not move it past the share.
    low = 0.0 if right == 0 else min(share, centre - half)
    high = 1.0 if right == n else max(share, centre + half)
    return Interval(value=share, low=low, high=high)


def mcnemar(before: Sequence[bool], after: Sequence[bool]) -> float:
    """Exact two-sided p that as many answers turned right as turned wrong (McNemar 1947).

    Raises ValueError for unequal lengths; 1.0 where no answer turned.
    """
    from scipy.stats import binomtest

    pairs = list(zip(before, after, strict=True))
    gained = sum(later and not earlier for earlier, later in pairs)
    turned = sum(later != earlier for earlier, later in pairs)
    return float(binomtest(gained, turned).pvalue) if turned else 1.0


def holm(ps: Sequence[float]) -> list[float]:
    """Adjusted p-values in the given order (Holm 1979): monotone, at most 1.

    Raises ValueError for one outside 0..1.
    """
    if not all(0 <= p <= 1 for p in ps):
        raise ValueError("a p-value lies between 0 and 1")
    adjusted, largest = [0.0] * len(ps), 0.0
    for place, index in enumerate(sorted(range(len(ps)), key=lambda i: ps[i])):
        largest = max(largest, min(1.0, (len(ps) - place) * ps[index]))
        adjusted[index] = largest
    return adjusted

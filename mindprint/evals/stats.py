"""How sure a figure is: intervals by resampling questions, paired differences, exact tests.

Every figure of a quiz comes from few questions, some of them phrasings of one another, so the
question (the cluster) is what is resampled (Miller 2024, arXiv 2411.00640; the percentile
bootstrap: Efron and Tibshirani 1993, "An Introduction to the Bootstrap", chapter 13).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from mindprint.report.scores import Difference, Interval

Array = NDArray[np.float64]

Z_TWO_SIDED = NormalDist().inv_cdf(0.975)
# A one-sided test at 5 % that sees a fall of this many standard errors four times in five
# (the power analysis of Miller 2024).
SEEN_IN_STANDARD_ERRORS = NormalDist().inv_cdf(0.95) + NormalDist().inv_cdf(0.80)
# With fewer clusters than this even all signs alike do not reach 5 % (2 / 2**5 is more).
FEW_CLUSTERS = 6
# Drawn cluster numbers held at once: 8 MB.
DRAWN_AT_ONCE = 1_000_000


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


def mean_interval(
    values: Sequence[float],
    clusters: Sequence[int] = (),
    *,
    seed: int = 0,
    resamples: int = 2000,
) -> Interval:
    """The mean of `values` with its 95 % percentile interval by cluster bootstrap.

    Clusters are drawn with replacement, and the mean goes over all values of those drawn; without
    `clusters` every value is its own. Where all clusters have the same mean there is no spread to
    resample, and values in 0..1 take the Wilson interval of as many clusters instead: 13 of 13
    right is 0.77 to 1.00, not 1 to 1. The same input gives the same numbers every time.
    Raises ValueError for no values, one that is not finite, or clusters of another length.
    """
    array = _finite(values)
    sums, counts = _grouped(array, clusters)
    mean = float(array.mean())
    if _level(sums / counts):
        if array.min() < 0 or array.max() > 1:
            return Interval(value=mean, low=mean, high=mean)
        level = wilson(min(max(mean, 0.0), 1.0) * len(sums), len(sums))
        return Interval(value=mean, low=min(mean, level.low), high=max(mean, level.high))
    low, high = _percentiles(sums, counts, seed, resamples)
    return Interval(value=mean, low=min(mean, low), high=max(mean, high))


def paired(
    before: Sequence[float],
    after: Sequence[float],
    clusters: Sequence[int] = (),
    *,
    seed: int = 0,
    resamples: int = 2000,
) -> Difference:
    """The mean of `after` - `before` over pairs of shares in 0..1, as a paired `Difference`.

    Interval: percentile bootstrap over clusters. Where all clusters differ by the same, or there
    are fewer than six, resampling cannot show the spread; then a share of the questions that was
    not seen, as large as Clopper and Pearson (1934) leave open, is taken to differ by the most
    that it can: 13 unchanged answers are -0.25 to +0.25, and five answers never lie beyond noise.
    `p`: paired t-test over clusters, never below 2**(1 - clusters), which is what all of them
    pointing one way is worth. `unseen`: 2.49 cluster standard errors (Miller 2024, arXiv
    2411.00640, for both); without spread, 3 in as many clusters (the rule of three: Hanley and
    Lippman-Hand 1983).
    Raises ValueError for no pairs, unequal lengths or values that are not finite.
    """
    if len(before) != len(after):
        raise ValueError(f"{len(before)} values cannot be paired with {len(after)}")
    change = _finite(after) - _finite(before)
    sums, counts = _grouped(change, clusters)
    value = _tidy(float(change.mean()))
    low, high = value, value
    level = _level(sums / counts)
    if not level:
        low, high = _percentiles(sums, counts, seed, resamples)
    if level or len(sums) < FEW_CLUSTERS:
        low, high = _widened(low, high, len(sums))
    return Difference(
        value=value,
        low=_tidy(min(value, low)),
        high=_tidy(max(value, high)),
        p=_p(sums, counts, level),
        clusters=len(sums),
        unseen=_unseen(sums, counts, level),
    )


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


def _finite(values: Sequence[float]) -> Array:
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1 or not array.size:
        raise ValueError("an interval needs at least one value")
    if not np.isfinite(array).all():
        raise ValueError("an interval needs finite values")
    return array


def _grouped(values: Array, clusters: Sequence[int]) -> tuple[Array, Array]:
    """Sum and number of values of each cluster, [clusters] each, in order of cluster number."""
    if not len(clusters):
        return values, np.ones_like(values)
    if len(clusters) != len(values):
        raise ValueError(f"{len(values)} values cannot stand in {len(clusters)} cluster numbers")
    _, place = np.unique(np.asarray(clusters), return_inverse=True)
    counts = np.bincount(place).astype(np.float64)
    return np.bincount(place, weights=values).astype(np.float64), counts


def _level(means: Array) -> bool:
    """All the same, but for rounding: no resample of them can show a spread."""
    return bool(np.ptp(means) < 1e-12)


def _percentiles(sums: Array, counts: Array, seed: int, resamples: int) -> tuple[float, float]:
    """2.5 and 97.5 % of the mean over clusters drawn with replacement."""
    if resamples < 1:
        raise ValueError("an interval needs at least one resample")
    rng = np.random.default_rng(seed)
    means = np.empty(resamples)
    step = max(1, DRAWN_AT_ONCE // len(sums))
    for start in range(0, resamples, step):
        size = min(step, resamples - start)
        drawn = rng.integers(len(sums), size=(size, len(sums)))
        means[start : start + size] = sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1)
    low, high = np.percentile(means, (2.5, 97.5))
    return float(low), float(high)


def _widened(low: float, high: float, clusters: int) -> tuple[float, float]:
    """The interval, if the share of questions that none of `clusters` showed differs by -1 or 1.

    That share is at most 1 - 0.025**(1/n): the exact 95 % bound after n questions without one."""
    unshown = 1 - 0.025 ** (1 / clusters)
    return low - unshown * max(0.0, low + 1), high + unshown * max(0.0, 1 - high)


def _p(sums: Array, counts: Array, level: bool) -> float:
    """Two-sided p of no difference: Student's t over clusters, no smaller than their signs allow.

    A few differences that happen to be alike would else look like proof."""
    from scipy.special import stdtr

    clusters = len(sums)
    signs = 2.0 ** (1 - clusters)
    if level:
        return signs if abs(sums.sum()) > 1e-12 else 1.0
    t = abs(float(sums.sum())) / (_spread(sums, counts))
    return min(1.0, max(signs, 2 * float(stdtr(clusters - 1, -t))))


def _spread(sums: Array, counts: Array) -> float:
    """The standard error of the summed differences, clusters being independent."""
    clusters = len(sums)
    apart = sums - counts * (sums.sum() / counts.sum())
    return math.sqrt(float((apart**2).sum()) * clusters / (clusters - 1))


def _unseen(sums: Array, counts: Array, level: bool) -> float:
    """The largest fall that had a chance of 20 % or more to go unnoticed, at most 1."""
    clusters = len(sums)
    if level:
        return min(1.0, 3 / clusters)
    return min(1.0, SEEN_IN_STANDARD_ERRORS * _spread(sums, counts) / float(counts.sum()))


def _tidy(value: float) -> float:
    """Without the rounding of a sum that is 0 on paper: an end of 1e-17 must not exclude 0."""
    return 0.0 if abs(value) < 1e-12 else value

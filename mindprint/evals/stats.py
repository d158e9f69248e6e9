"""How sure a figure is: intervals by resampling questions, paired differences, exact tests.

Every figure of a quiz comes from few questions, some of them phrasings of one another, so the
question (the cluster) is what is resampled (Miller 2024, arXiv 2411.00640; the percentile
bootstrap: Efron and Tibshirani 1993, "An Introduction to the Bootstrap", chapter 13).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from mindprint.evals.exact import Z_TWO_SIDED, wilson
from mindprint.report.scores import Difference, Interval

Array = NDArray[np.float64]
Drawn = NDArray[np.int64]

POWER = 0.80
# A two-sided 95 % interval leaves out 0 in four of five falls of this many standard errors (the
# power analysis of Miller 2024): what a verdict calls a fall, it sees so often.
SEEN_IN_STANDARD_ERRORS = Z_TWO_SIDED + NormalDist().inv_cdf(POWER)
# With fewer clusters than this even all signs alike do not reach 5 % (2 / 2**5 is more).
FEW_CLUSTERS = 6
# Cluster means this near to one another show no spread that resampling could go by.
LEVEL = 0.1
# What float64 leaves of a sum that is 0 on paper.
ROUNDING = 1e-12
# Drawn cluster numbers held at once: 8 MB.
DRAWN_AT_ONCE = 1_000_000


def mean_interval(
    values: Sequence[float],
    clusters: Sequence[int] = (),
    *,
    seed: int = 0,
    resamples: int = 2000,
) -> Interval:
    """The mean of `values` with its 95 % percentile interval by cluster bootstrap.

    Clusters are drawn with replacement, and the mean goes over all values of those drawn; without
    `clusters` every value is its own. Where the means of all clusters lie within 0.1, or there
    are fewer than six, resampling cannot show the spread, and shares (values in 0..1, or in -1..1
    corrected for guessing) reach to the Wilson interval of as many clusters: 13 of 13 right is
    0.77 to 1.00, not 1 to 1. The same input gives the same numbers every time.
    Raises ValueError for no values, one that is not finite, or clusters of another length.
    """
    array = _finite(values)
    place, counts = _grouped(len(array), clusters)
    sums = _summed(array, place, counts)
    mean = float(array.mean())
    means = [
        sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1)
        for drawn in draws(len(sums), np.random.default_rng(seed), resamples)
    ]
    low, high = percentiles(np.concatenate(means))
    shares = array.min() >= -1 and array.max() <= 1
    if shares and (_level(sums / counts) or len(sums) < FEW_CLUSTERS):
        seen = wilson(min(max(mean, 0.0), 1.0) * len(sums), len(sums))
        low, high = min(low, seen.low), max(high, seen.high)
    return Interval(value=mean, low=min(mean, low), high=max(mean, high))


@dataclass(frozen=True)
class Pairs:
    """The shares (0..1) of one quiz's questions at two moments, and which are phrasings of one.

    `floor`: what the mean of `floored` values (all, where that is empty) does not fall below at
    either moment: choices corrected for guessing have single values below 0 and no such score.
    """

    before: Sequence[float]
    after: Sequence[float]
    clusters: Sequence[int] = ()
    floor: float | None = None
    floored: Sequence[bool] = ()


def paired(
    before: Sequence[float],
    after: Sequence[float],
    clusters: Sequence[int] = (),
    *,
    floor: float | None = None,
    floored: Sequence[bool] = (),
    seed: int = 0,
    resamples: int = 2000,
) -> Difference:
    """The mean of `after` less that of `before`, paired: `averaged` over one quiz, see there and
    `Pairs`. Raises ValueError for no pairs, unequal lengths or values that are not finite."""
    pairs = Pairs(before, after, clusters, floor, floored)
    return averaged([pairs], seed=seed, resamples=resamples)


def averaged(quizzes: Sequence[Pairs], *, seed: int = 0, resamples: int = 2000) -> Difference:
    """The mean over `quizzes` of the difference of their means, later less earlier; -1 to 1.

    Interval: percentile bootstrap over clusters within each quiz, of the very figure that is
    given. Where the clusters of a quiz differ by nearly the same, or there are fewer than six in
    all, resampling cannot show the spread; see `unshown`. What a level quiz leaves open and what
    the others' resamples spread are added as squares (Zou and Donner 2008, doi 10.1002/sim.3095).
    `p`: Student's t over clusters; a level change is given one more cluster that did not change,
    and with fewer than six clusters p is never below 2**(1 - clusters), what all of them pointing
    one way is worth. `unseen`: 2.80 standard errors (Miller 2024, arXiv 2411.00640); where all is
    level the share of questions that must be lost for the interval to show it four times in five.
    Raises ValueError for no quiz, and as `paired` does.
    """
    if not quizzes:
        raise ValueError("a difference needs at least one quiz")
    sums = [_Sums.of(pairs) for pairs in quizzes]
    value = _tidy(sum(one.value for one in sums) / len(sums))
    # Kish 1965: as many questions of equal weight are worth as much; of one quiz its clusters.
    size = len(sums) ** 2 / sum(1 / one.size for one in sums)
    low, high = _ends(sums, value, size, seed, resamples)
    mean, error, degrees = _error(sums)
    return Difference(
        value=value,
        low=_tidy(min(value, max(-1.0, low))),
        high=_tidy(max(value, min(1.0, high))),
        p=_p(mean, error, degrees, size),
        clusters=sum(one.size for one in sums),
        unseen=_unseen(sums, error, size),
    )


def unshown(low: float, high: float, value: float, clusters: float) -> tuple[float, float]:
    """The ends of a difference (-1..1), `value` in a resampled interval that shows no spread.

    The share of questions that `clusters` of them need not have shown is at most 1 - 0.025**(1/n),
    the exact 95 % bound after n without one (Clopper and Pearson 1934). With six or more that
    share is taken not to have changed for the near end, and to have changed by the most it can
    for the far end: 13 unchanged answers are -0.25 to +0.25. With fewer it is taken to differ by
    the most it can either way, and nothing lies beyond noise.
    """
    if clusters < FEW_CLUSTERS:
        share = _unshown_share(clusters)
        return low - share * max(0.0, low + 1), high + share * max(0.0, 1 - high)
    return _left_open(low, high, value, clusters)


def percentiles(drawn: Array) -> tuple[float, float]:
    """2.5 and 97.5 % of a resampled figure, [resamples]."""
    low, high = np.percentile(drawn, (2.5, 97.5))
    return float(low), float(high)


def shown_by(fallen: int, clusters: int) -> float:
    """The share of questions that must be lost for at least `fallen` of `clusters` to show it
    four times in five: P(Binomial(clusters, share) >= fallen) = 0.8."""
    from scipy.special import betaincinv

    return float(betaincinv(fallen, clusters - fallen + 1, POWER))


@dataclass(frozen=True)
class _Sums:
    """Sums over each cluster of a quiz, before and after, [2, clusters] each: `held` of the values
    whose mean is floored, `free` of the others; how many of each there are, [clusters]."""

    free: Array
    held: Array
    counts: Array
    held_counts: Array
    floor: float

    @classmethod
    def of(cls, pairs: Pairs) -> _Sums:
        if len(pairs.before) != len(pairs.after):
            raise ValueError(f"{len(pairs.before)} values cannot be paired with {len(pairs.after)}")
        values = np.stack([_finite(pairs.before), _finite(pairs.after)])
        place, counts = _grouped(values.shape[1], pairs.clusters)
        held = np.full(len(place), pairs.floor is not None)
        if len(pairs.floored):
            if len(pairs.floored) != len(place):
                raise ValueError(f"{len(place)} values for {len(pairs.floored)} marks of a floor")
            held &= np.asarray(pairs.floored, dtype=bool)
        return cls(
            free=np.stack([_summed(row * ~held, place, counts) for row in values]),
            held=np.stack([_summed(row * held, place, counts) for row in values]),
            counts=counts,
            held_counts=_summed(held.astype(np.float64), place, counts),
            floor=0.0 if pairs.floor is None else pairs.floor,
        )

    @property
    def size(self) -> int:
        return len(self.counts)

    @property
    def value(self) -> float:
        return float(self.differences(np.arange(self.size)[None])[0])

    @property
    def changes(self) -> Array:
        """The summed change of each cluster, no floor put under it, [clusters]."""
        both = self.free + self.held
        return np.asarray(both[1] - both[0])

    @property
    def level(self) -> bool:
        return _level(self.changes / self.counts)

    def differences(self, drawn: Drawn) -> Array:
        """The difference of the two means over the clusters `drawn`, [resamples, clusters]."""
        counts, held_counts = self.counts[drawn].sum(axis=1), self.held_counts[drawn].sum(axis=1)
        held = self.held[:, drawn].sum(axis=2)
        # Only what has a floor is lifted: without such values the sum is 0, whatever the floor.
        held = np.maximum(held, self.floor * held_counts)
        means = (self.free[:, drawn].sum(axis=2) + held) / counts
        return np.asarray(means[1] - means[0])


def _finite(values: Sequence[float]) -> Array:
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1 or not array.size:
        raise ValueError("an interval needs at least one value")
    if not np.isfinite(array).all():
        raise ValueError("an interval needs finite values")
    return array


def _grouped(values: int, clusters: Sequence[int]) -> tuple[Drawn, Array]:
    """The place of each value's cluster, in order of cluster number, and the values of each."""
    if not len(clusters):
        return np.arange(values), np.ones(values)
    if len(clusters) != values:
        raise ValueError(f"{values} values cannot stand in {len(clusters)} cluster numbers")
    _, place = np.unique(np.asarray(clusters), return_inverse=True)
    return place, np.bincount(place).astype(np.float64)


def _summed(values: Array, place: Drawn, counts: Array) -> Array:
    return np.bincount(place, weights=values, minlength=len(counts)).astype(np.float64)


def _level(means: Array) -> bool:
    """So much alike that no resample of them can show a spread."""
    return bool(np.ptp(means) < LEVEL)


def draws(clusters: int, rng: np.random.Generator, resamples: int) -> Iterator[Drawn]:
    """Cluster numbers drawn with replacement, [some resamples, clusters] at a time.

    Raises ValueError for no resample."""
    if resamples < 1:
        raise ValueError("an interval needs at least one resample")
    step = max(1, DRAWN_AT_ONCE // clusters)
    for start in range(0, resamples, step):
        yield rng.integers(clusters, size=(min(step, resamples - start), clusters))


def _ends(
    sums: Sequence[_Sums], value: float, size: float, seed: int, resamples: int
) -> tuple[float, float]:
    """The interval of the mean difference over quizzes, before it is held within -1..1."""
    rng = np.random.default_rng(seed)
    drawn = [
        np.concatenate([one.differences(some) for some in draws(one.size, rng, resamples)])
        for one in sums
    ]
    if size < FEW_CLUSTERS:
        return unshown(*percentiles(np.mean(drawn, axis=0)), value, size)
    below, above, spread = [0.0], [0.0], np.zeros(resamples)
    for one, found in zip(sums, drawn, strict=True):
        low, high = percentiles(found)
        if one.level or high - low < ROUNDING:
            low, high = _left_open(low, high, one.value, one.size)
            below.append(one.value - low)
            above.append(high - one.value)
        else:
            spread += found - one.value
    low, high = percentiles(spread)
    down, up = math.hypot(min(0.0, low), *below), math.hypot(max(0.0, high), *above)
    return value - down / len(sums), value + up / len(sums)


def _left_open(low: float, high: float, value: float, clusters: float) -> tuple[float, float]:
    """The ends, moved to where they would be if the share that was not shown had not changed
    (towards 0), and had changed by the most that it can (away from it)."""
    share = _unshown_share(clusters)
    room = share * max(0.0, 1 - abs(value))
    below = value - room if value <= 0 else value * (1 - share)
    above = value + room if value >= 0 else value * (1 - share)
    return min(low, below), max(high, above)


def _unshown_share(clusters: float) -> float:
    return float(1 - 0.025 ** (1 / clusters))


def _error(sums: Sequence[_Sums]) -> tuple[float, float, int]:
    """The mean change over quizzes, its standard error, and the degrees of freedom of that."""
    means, errors, degrees = [], [], 0
    for one in sums:
        changes, counts = one.changes, one.counts
        if one.level and abs(changes.sum()) > ROUNDING:
            # All alike would else be certain: one more question, that did not change.
            changes, counts = np.append(changes, 0.0), np.append(counts, counts.mean())
        means.append(float(changes.sum() / counts.sum()))
        errors.append(_spread(changes, counts) / float(counts.sum()))
        degrees += len(changes) - 1
    return sum(means) / len(sums), math.hypot(*errors) / len(sums), degrees


def _spread(sums: Array, counts: Array) -> float:
    """The standard error of the summed differences, clusters being independent; 0 of one."""
    clusters = len(sums)
    apart = sums - counts * (sums.sum() / counts.sum())
    return math.sqrt(float((apart**2).sum()) * clusters / max(1, clusters - 1))


def _p(mean: float, error: float, degrees: int, size: float) -> float:
    """Two-sided p of no difference: Student's t, for few clusters no smaller than signs allow.

    A few differences that happen to be alike would else look like proof."""
    from scipy.special import stdtr

    if error < ROUNDING:
        return 1.0
    p = 2 * float(stdtr(degrees, -abs(mean) / error))
    return min(1.0, max(p, 2.0 ** (1 - size))) if size < FEW_CLUSTERS else p


def _unseen(sums: Sequence[_Sums], error: float, size: float) -> float:
    """The largest fall that had a chance of 20 % or more to go unnoticed, at most 1."""
    if size < FEW_CLUSTERS:
        return 1.0
    if all(one.level for one in sums):
        clusters = int(size)
        # So many of them lost are what the interval calls a fall: (1 - k/n)**n draws miss them.
        return shown_by(math.ceil(clusters * _unshown_share(clusters)), clusters)
    return min(1.0, SEEN_IN_STANDARD_ERRORS * error)


def _tidy(value: float) -> float:
    """Without the rounding of a sum that is 0 on paper: an end of 1e-17 must not exclude 0."""
    return 0.0 if abs(value) < ROUNDING else value

"""What later topics did to earlier ones: the matrices R[i, j], and the figures over them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from mindprint.evals.exact import wilson
from mindprint.evals.stats import FEW_CLUSTERS, ROUNDING, draws, percentiles, unshown
from mindprint.report.kept import Retained, Transfer
from mindprint.report.scores import Score

Kept = Literal["accuracy", "markers", "degenerate"]
Moved = Literal["average", "backward", "forward", "forgetting"]
Matrix = NDArray[np.float64]
# Where `Retained.values` has a figure: the cluster comes first.
COLUMN: dict[Kept, int] = {"accuracy": 1, "markers": 2, "degenerate": 3}


def finished(rows: Sequence[Retained], topics: Sequence[str]) -> tuple[str, ...]:
    """The topics that a `final` row was measured after, in the order of `topics`."""
    done = {row.after for row in rows if row.stage == "final"}
    return tuple(topic for topic in topics if topic in done)


def matrix(rows: Sequence[Retained], topics: Sequence[str], figure: Kept) -> Matrix:
    """R, [T+1, T] over the T finished topics in the order of `topics`, NaN where nothing was
    measured: R[i, j] is the figure of topic j after topic i, row 0 the base.

    Row i holds the `final` row after topic i; the `before` row of topic i gives R[i-1, i], of the
    first topic only where the base row lacks it. Of several rows for one place the last counts.
    """
    order = finished(rows, topics)
    made = np.full((len(order) + 1, len(order)), np.nan)
    for (number, place), row in _cells(rows, order).items():
        made[number, place] = _value(row.scores[order[place]], figure)
    return made


def transfer(matrix: Matrix) -> Transfer | None:
    """The figures of `Transfer` over R, [T+1, T]; None where the last row is empty.

    Sums go over the T - 1 topics of the definitions, not over T as GEM's own code has it, and
    where a cell is missing over those that were measured. The maximum of `forgetting` goes over
    the rows 1 to T-1, as in Chaudhry et al. 2018: what only the base knew was not learned here.
    Where lower is better (`degenerate`) the formulas stay and their sense turns: `backward` above
    0 is then the harm, and `forgetting` is how far the last share lies below the worst measured.
    Raises ValueError for another shape.
    """
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] + 1:
        raise ValueError(f"a matrix of shape {list(matrix.shape)} is not [T+1, T]")
    figures = _figures(matrix)
    average = figures.pop("average", None)
    if average is None:
        return None
    moved = {name: float(figure) for name, figure in figures.items()}
    return Transfer(
        average=float(average),
        backward=moved.get("backward"),
        forward=moved.get("forward"),
        forgetting=moved.get("forgetting"),
    )


def transfers(
    rows: Sequence[Retained], topics: Sequence[str], *, seed: int = 0, resamples: int = 2000
) -> dict[Kept, Transfer]:
    """The figures of each matrix that holds any, with 95 % intervals where the rows tell their
    questions apart: percentile bootstrap over the clusters of each topic, the same draw in every
    row, so that a question is compared with itself.

    Where no resample shows a spread, or there are few questions, the share that they need not
    have shown is left open (`unshown`; Wilson's interval for the average). Raises ValueError
    where the rows of one topic have different questions.
    """
    found: dict[Kept, Transfer] = {}
    for figure in get_args(Kept):
        made = transfer(matrix(rows, topics, figure))
        if made is not None:
            found[figure] = _with_intervals(made, rows, topics, figure, seed, resamples)
    return found


def _cells(rows: Sequence[Retained], order: Sequence[str]) -> dict[tuple[int, int], Retained]:
    """For each measured place in R, (row, column), the row that it comes from."""
    places = {topic: place for place, topic in enumerate(order)}
    made: dict[tuple[int, int], Retained] = {}
    for row in rows:
        if row.stage == "base":
            number = 0
        elif row.stage == "final" and row.after in places:
            number = places[row.after] + 1
        else:
            continue
        for topic in row.scores:
            if topic in places:
                made[number, places[topic]] = row
    base = {place for number, place in made if not number}
    for row in rows:
        if row.stage == "before" and row.after in places and row.after in row.scores:
            place = places[row.after]
            if place or place not in base:
                made[place, place] = row
    return made


def _figures(matrix: Matrix) -> dict[Moved, Matrix]:
    """The figures over R, [..., T+1, T], that anything was measured for, [...] each."""
    found: dict[Moved, Matrix] = {}
    for name, terms in _terms(matrix).items():
        measured = _measured(terms)
        if measured.any():
            found[name] = np.asarray(terms[..., measured].mean(axis=-1))
    return found


def _terms(matrix: Matrix) -> dict[Moved, Matrix]:
    """What each figure is the mean of, [..., topics], NaN where something was not measured."""
    last, rows = matrix[..., -1, :-1], matrix[..., 1:-1, :-1]
    learned = np.diagonal(rows, axis1=-2, axis2=-1)
    ahead = np.diagonal(matrix[..., 1:-1, 1:], axis1=-2, axis2=-1)
    # fmax passes over what was not measured
    best = np.fmax.reduce(rows, axis=-2) if matrix.shape[-1] > 1 else last
    return {
        "average": matrix[..., -1, :],
        "backward": last - learned,
        "forward": ahead - matrix[..., 0, 1:],
        "forgetting": best - last,
    }


def _measured(terms: Matrix) -> NDArray[np.bool_]:
    """The topics that count, [topics]: the same in all draws."""
    return np.asarray(~np.isnan(terms).any(axis=tuple(range(terms.ndim - 1))))


def _with_intervals(
    made: Transfer,
    rows: Sequence[Retained],
    topics: Sequence[str],
    figure: Kept,
    seed: int,
    resamples: int,
) -> Transfer:
    """`made` with an interval for each of its figures; as it is where questions are not told."""
    order = finished(rows, topics)
    cells = _cells(rows, order)
    if not all(row.values.get(order[place]) for (_, place), row in cells.items()):
        return made
    drawn = np.full((resamples, len(order) + 1, len(order)), np.nan)
    rng = np.random.default_rng(seed)
    sizes = []
    for place, topic in enumerate(order):
        asked = {number: row.values[topic] for (number, at), row in cells.items() if at == place}
        means, clusters = _resampled(topic, list(asked.values()), figure, rng, resamples)
        drawn[:, list(asked), place] = means
        sizes.append(clusters)
    terms = _terms(drawn)
    intervals = {
        f"{name}_interval": _interval(
            name, float(getattr(made, name)), found, _size(name, terms[name], sizes)
        )
        for name, found in _figures(drawn).items()
    }
    return made.model_copy(update=intervals)


def _size(name: Moved, terms: Matrix, sizes: Sequence[int]) -> float:
    """As many questions of equal weight are worth as much as those of this figure (Kish 1965);
    `sizes`: of each topic. Forward transfer has no first topic, the others but one no last."""
    having = {"average": sizes, "forward": sizes[1:]}.get(name, sizes[:-1])
    used = np.asarray(having)[_measured(terms)]
    return float(len(used) ** 2 / (1 / used).sum())


def _resampled(
    topic: str,
    asked: Sequence[Sequence[tuple[int, float, float, float]]],
    figure: Kept,
    rng: np.random.Generator,
    resamples: int,
) -> tuple[Matrix, int]:
    """The figure of one topic in each row, [resamples, rows], and how many clusters it has."""
    clusters = [[value[0] for value in row] for row in asked]
    if any(one != clusters[0] for one in clusters):
        raise ValueError(f"the rows of {topic} do not have the same questions")
    _, place = np.unique(clusters[0], return_inverse=True)
    counts = np.bincount(place)
    sums = [np.bincount(place, [value[COLUMN[figure]] for value in row]) for row in asked]
    means = [
        np.stack(sums)[:, drawn].sum(axis=2) / counts[drawn].sum(axis=1)
        for drawn in draws(len(counts), rng, resamples)
    ]
    # Only accuracy can lie below 0: choices corrected for guessing.
    return np.maximum(np.concatenate(means, axis=1), 0.0).T, len(counts)


def _interval(name: Moved, value: float, drawn: Matrix, clusters: float) -> tuple[float, float]:
    low, high = percentiles(drawn)
    if high - low < ROUNDING or clusters < FEW_CLUSTERS:
        if name == "average":
            # Rounded down: fewer questions only widen it.
            seen = wilson(min(max(value, 0.0), 1.0) * int(clusters), int(clusters))
            low, high = min(low, seen.low), max(high, seen.high)
        else:
            low, high = unshown(low, high, value, clusters)
    low, high = max(low, -1.0), min(high, 1.0)
    return min(value, low), max(value, high)


def _value(score: Score, figure: Kept) -> float:
    return {
        "accuracy": score.accuracy,
        "markers": score.markers,
        "degenerate": score.degenerate,
    }[figure]

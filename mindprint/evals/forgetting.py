"""What later topics did to earlier ones: the matrices R[i, j], and the figures over them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from mindprint.report.kept import Retained, Transfer
from mindprint.report.scores import Score

Kept = Literal["accuracy", "markers", "degenerate"]
Matrix = NDArray[np.float64]


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
    places = {topic: place for place, topic in enumerate(order)}
    made = np.full((len(order) + 1, len(order)), np.nan)
    for row in rows:
        if row.stage == "base":
            number = 0
        elif row.stage == "final" and row.after in places:
            number = places[row.after] + 1
        else:
            continue
        for topic, score in row.scores.items():
            if topic in places:
                made[number, places[topic]] = _value(score, figure)
    for row in rows:
        if row.stage == "before" and row.after in places and row.after in row.scores:
            place = places[row.after]
            if place or np.isnan(made[0, 0]):
                made[place, place] = _value(row.scores[row.after], figure)
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
    count = matrix.shape[1]
    average = _mean(matrix[-1])
    if average is None:
        return None
    last, rows = matrix[-1, :-1], matrix[1:-1, :-1]
    learned = np.diagonal(rows)
    ahead = np.diagonal(matrix[1:-1, 1:])
    # fmax passes over what was not measured
    best = np.fmax.reduce(rows, axis=0) if count > 1 else last
    return Transfer(
        average=average,
        backward=_mean(last - learned),
        forward=_mean(ahead - matrix[0, 1:]),
        forgetting=_mean(best - last),
    )


def transfers(rows: Sequence[Retained], topics: Sequence[str]) -> dict[Kept, Transfer]:
    """The figures of each matrix that holds any."""
    found = {figure: transfer(matrix(rows, topics, figure)) for figure in get_args(Kept)}
    return {figure: made for figure, made in found.items() if made is not None}


def _value(score: Score, figure: Kept) -> float:
    return {
        "accuracy": score.accuracy,
        "markers": score.markers,
        "degenerate": score.degenerate,
    }[figure]


def _mean(values: Matrix) -> float | None:
    """Over what was measured; None where nothing was."""
    measured = values[~np.isnan(values)]
    return float(measured.mean()) if measured.size else None

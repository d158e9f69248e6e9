"""Moments of a run at which earlier topics were asked again: rows of the forgetting heat map."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from mindprint.report.kept import Retained
from mindprint.report.model import Result
from mindprint.report.scores import Score
from mindprint.report.summary import places

Matrix = Literal["accuracy", "markers", "degenerate"]
RETENTION = "retention"


@dataclass(frozen=True)
class Cell:
    """`own`: the topic just learned, as it was left (the diagonal). `ahead`: not taught yet."""

    value: float | None
    own: bool = False
    ahead: bool = False


@dataclass(frozen=True)
class Moment:
    """`place` and `title`: the topic's, 0 and empty for the base; `stands`: the state in which the
    topic left the model; `undone`: a stage rolled back."""

    label: str
    place: int
    title: str
    stands: bool
    undone: bool
    cells: tuple[Cell, ...]


def columns(result: Result, figure: Matrix) -> list[tuple[str, str]]:
    """(key, title) of what was asked again, in the order of teaching, the retention set last; it
    has no column of markers, since the base has no author's voice to lose."""
    asked = {key for row in result.forgetting for key in row.scores}
    order = places(result)
    found = [(t.id, f"{order[t.id]} {t.title}") for t in result.topics if t.id in asked]
    if RETENTION in asked and figure != "markers":
        found.append((RETENTION, "what the base knew"))
    return found


def moments(result: Result, figure: Matrix) -> list[Moment]:
    """Rows of the map in the order of the run. What a topic scored as it began stands in the row
    of the topic before it: there it says what earlier topics lent it."""
    keys = [key for key, _ in columns(result, figure)]
    rows = []
    for at, row in enumerate(result.forgetting):
        if row.stage == "before" or _repeated(result, at):
            continue
        stands = _stands(result, at)
        began = _began(result, row) if stands else {}
        cells = tuple(_cell(row, began, key, figure, stands) for key in keys)
        rows.append(_moment(result, row, stands, cells))
    return rows


def _cell(row: Retained, began: dict[str, Score], key: str, figure: Matrix, stands: bool) -> Cell:
    if key in row.scores:
        return Cell(getattr(row.scores[key], figure), own=stands and key == row.after)
    if key in began:
        return Cell(getattr(began[key], figure), ahead=True)
    return Cell(None)


def _repeated(result: Result, at: int) -> bool:
    """A final row says again what the kept stage's row said, unless nothing was kept."""
    row = result.forgetting[at]
    return row.stage == "final" and any(
        other.after == row.after and other.kept and other.scores == row.scores
        for other in _stage_rows(result)
    )


def _stage_rows(result: Result) -> list[Retained]:
    return [row for row in result.forgetting if row.stage in ("sft", "dpo")]


def _stands(result: Result, at: int) -> bool:
    """The last row shown of a topic that has ended, be it a kept stage or its final state."""
    row = result.forgetting[at]
    if row.stage == "final":
        return True
    ended = any(one.after == row.after and one.stage == "final" for one in result.forgetting)
    kept = [one for one in _stage_rows(result) if one.after == row.after and one.kept]
    return ended and bool(kept) and row is kept[-1]


def _began(result: Result, row: Retained) -> dict[str, Score]:
    """The next topic's score as it began."""
    order = places(result)
    following = order.get(row.after, -1) + 1
    return {
        key: score
        for one in result.forgetting
        if one.stage == "before" and order.get(one.after) == following
        for key, score in one.scores.items()
    }


def _moment(result: Result, row: Retained, stands: bool, cells: tuple[Cell, ...]) -> Moment:
    titles = {topic.id: topic.title for topic in result.topics}
    place = places(result).get(row.after, 0)
    return Moment(_label(row), place, titles.get(row.after, ""), stands, not row.kept, cells)


def _label(row: Retained) -> str:
    names = {"base": "base", "final": "as it was left", "sft": "after SFT", "dpo": "after DPO"}
    attempt = f", attempt {row.attempt + 1}" if row.attempt else ""
    return names[row.stage] + attempt + ("" if row.kept else ", undone")

"""LS-LoRA on its way out: as it is, as the LoRA that it is where its splines are straight, or with
the line in the place of each spline that comes nearest to it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from backends.chain import Held, sloped, slopes
from backends.contract import Batch, Session, SplineInputs
from backends.lora import name_s
from mindprint.errors import ConfigError
from mindprint.export.checked import Checked, Rounded, percentage
from mindprint.export.exact import Ground
from mindprint.export.form import Asked, Made
from mindprint.export.probes import fitting
from mindprint.export.source import Source
from mindprint.ledger import Entry, check_model
from mindprint.report.words import several
from mindprint.tokens.batches import pad
from mindprint.tokens.rows import Row

ROWS = 8
"""Rows that go through the model at once."""
OPTION = "--least-squares"
WHERE = "--to"


@dataclass(frozen=True)
class Fit:
    """`slopes`: entry -> layer -> what B A is multiplied by in the place of its spline; `lines`: of
    those how many were fitted, where phi bends; `questions`: to so many."""

    slopes: dict[str, dict[str, float]]
    lines: int
    questions: int


@dataclass(frozen=True)
class Taken:
    """The adapters that are exported, in order. `fit`: what stands in for their splines, None where
    nothing does."""

    adapters: tuple[Held, ...]
    fit: Fit | None = None

    def rounded(self, error: float, exact: bool) -> Rounded:
        """What the export's form did, where it did `error` to the weights."""
        return Rounded(error, exact=exact and self.fit is None)


def check(source: Source, asked: Asked) -> None:
    """Raises ConfigError, before any weight is loaded, for splines that the form cannot hold, and
    for `--least-squares` where no spline bends."""
    odd = bending(source)
    if asked.least_squares and not odd:
        raise ConfigError(
            "no LS-LoRA whose spline bends is exported, so there is nothing to fit",
            where=OPTION,
            hint=f"leave `{OPTION}` out: the export is exact",
        )
    if not odd or asked.least_squares:
        return
    if not alone(source, asked):
        names = ", ".join(f"`{entry.topic}`" for entry in odd)
        one = asked.to == "adapter" and asked.rank is None
        way = "leave the other topics out with `--until` and `--without`, or " if one else ""
        raise ConfigError(
            f"`--to {asked.to}` cannot hold the splines of LS-LoRA, which bend what is learned of "
            f"{names}",
            where=WHERE,
            hint=f"{way}add `{OPTION}`: a line in the place of each spline, and what that loses",
        )


def alone(source: Source, asked: Asked) -> bool:
    """Whether one LS-LoRA that bends is exported as it is."""
    single = asked.to == "adapter" and len(source.entries) == 1
    return single and asked.rank is None and not asked.least_squares and bool(bending(source))


def bending(source: Source) -> list[Entry]:
    """The entries that a spline bends."""
    pairs = zip(source.entries, source.adapters(), strict=True)
    return [entry for entry, held in pairs if None in slopes(held).values()]


def taken(ground: Ground, asked: Asked) -> Taken:
    """The adapters, LS-LoRA's splines by lines where that was asked. Raises what opening the base
    raises."""
    held = ground.source.adapters()
    return _fitted(ground, held) if asked.least_squares else Taken(tuple(held))


def told(made: Made, taken: Taken, checked: Checked) -> Made:
    """What was made, with what stands in for the splines and what that loses."""
    fit = taken.fit
    if fit is None:
        return made
    found = [slope for layers in fit.slopes.values() for slope in layers.values()]
    lost = f": {percentage(checked.lost)} of their effect on the logits is lost"
    note = (
        f"a line stands in the place of the splines of {several(fit.lines, 'layer')}, fitted by "
        f"least squares to what {several(fit.questions, 'question')} put into them, of slopes from "
        f"{min(found):.3g} to {max(found):.3g}{lost if checked.verified else ''}"
    )
    figures: dict[str, Any] = {
        "slopes": fit.slopes,
        "questions": fit.questions,
        "lost": checked.lost if checked.verified else None,
    }
    return made.model_copy(
        update={
            "notes": (note, *made.notes),
            "figures": {**made.figures, "least_squares": figures},
        }
    )


def advice(ground: Ground) -> str:
    """What is left where the lines lose too much."""
    only = len(ground.source.entries) == 1
    way = "; `--to adapter` without it keeps the spline" if only else ""
    return f"no LoRA comes nearer on these rows: `--bound X` takes it with what it loses{way}"


def _fitted(ground: Ground, held: Sequence[Held]) -> Taken:
    """Each spline that bends by the slope that fits it best over the rows of real questions, with
    all adapters acting."""
    source = ground.source
    rows = fitting(source, ground.renderer)
    ground.say(f"fitting lines to LS-LoRA's splines over {several(len(rows), 'question')}")
    batches = [pad([_row(row) for row in rows[n : n + ROWS]]) for n in range(0, len(rows), ROWS)]
    made: list[Held] = []
    found: dict[str, dict[str, float]] = {}
    lines = 0
    with ground.open(max(map(len, rows))) as session:
        check_model(source.ledger, session, source.run)
        for entry, one in zip(source.entries, held, strict=True):
            known = slopes(one)
            if None not in known.values():
                made.append(one)
                continue
            seen = _seen(session, source, entry, batches)
            by = {
                path: _slope(one, path, seen) if slope is None else slope
                for path, slope in known.items()
            }
            lines += sum(slope is None for slope in known.values())
            found[entry.name] = by
            made.append(sloped(one, by))
    return Taken(tuple(made), Fit(found, lines, len(rows)))


def _seen(
    session: Session, source: Source, entry: Entry, batches: Sequence[Batch]
) -> dict[str, SplineInputs]:
    """What the splines of an entry are given. It is attached last, as if it trained: branches are
    added, in whichever order."""
    for other in source.entries:
        if other.name != entry.name:
            folder = source.run.path / other.folder
            session.adapters.load(folder, other.name, frozen=True)
    session.adapters.load(source.run.path / entry.folder, entry.name)
    total: dict[str, SplineInputs] = {}
    for batch in batches:
        for path, found in session.spline_inputs(batch).items():
            total[path] = total[path] + found if path in total else found
    for name in reversed(session.adapters.active()):
        session.adapters.unload(name)
    return total


def _slope(held: Held, path: str, seen: dict[str, SplineInputs]) -> float:
    """A layer that gave its spline nothing but zeros keeps its scales."""
    fitted = seen[path].slope if path in seen else None
    return float(held[1][name_s(path)].prod()) if fitted is None else fitted


def _row(ids: Sequence[int]) -> Row:
    return Row(tuple(ids), mask=(False,) * (len(ids) - 1) + (True,), cut=False)

"""Measurements as Markdown, one table for each kind of work."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from timing.figures import Spread
from timing.limits import Limit
from timing.measured import STEPPED, Measured

MIB = 1 << 20
UNITS = {
    "sft": "seconds a step",
    "dpo": "seconds a step, reference in it",
    "prefix": "seconds a step",
    "answers": "seconds, without start-up",
    "topic": "seconds, start-up included",
}


def compared(found: Sequence[Measured]) -> str:
    """One line for each peer of measurements of one kind: medians, least and most."""
    unit = UNITS[found[0].kind]
    heads = ["model", "backend", "peer", f"mindprint, {unit}", "peer", "times as fast"]
    lines = [_line(heads), _line(["---"] * 3 + ["---:"] * 3)]
    lines += [
        _line([_model(one), one.backend, peer, *_cells(one, peer)])
        for one in found
        for peer in one.sides[1:]
    ]
    return "\n".join([*lines, "", *_said(found)])


def _cells(one: Measured, peer: str) -> list[str]:
    if one.untold():
        return ["not told"] * 3
    ours, theirs = (Spread.of(one.seconds(side)) for side in (one.sides[0], peer))
    return [_seconds(ours), _seconds(theirs), one.ratio(peer).told()]


def _said(found: Sequence[Measured]) -> list[str]:
    """Proof of equal work, how far losses part, what is known to differ, and what was used."""
    lines = [
        f"- {_model(one)} {one.backend}, {peer}: {told}"
        for one in found
        for peer in one.sides[1:]
        for told in _proofs(one, peer)
    ]
    notes = {
        f"- {peer}: {note}."
        for one in found
        for peer in one.sides[1:]
        for note in one.last(peer).notes
    }
    used = {
        f"{name} {version}"
        for one in found
        for side in one.sides
        for name, version in one.last(side).versions.items()
    }
    ways = sorted({f"{one.device}, {one.dtype}, {one.threads} threads" for one in found})
    told = f"Medians (least to most) of {'; '.join(map(_repeats, found))}. {'; '.join(ways)}"
    return [*lines, *sorted(notes), "", f"{told}; {', '.join(sorted(used))}."]


def _repeats(one: Measured) -> str:
    """How often each side ran, and over how many steps."""
    counts = [len(one.of(side)) for side in one.sides]
    told = f"{counts[0]} repeat{'s' if counts[0] > 1 else ''}"
    peers = "" if len(set(counts)) == 1 else f", {counts[1]} of the peers'"
    steps = ""
    if one.kind in STEPPED:
        steps = f" at {one.steps[0]} and {one.steps[1]} steps"
    elif one.steps[1]:
        steps = f" of {one.steps[1]} steps"
    return f"{_model(one)} {one.backend} {told}{peers}{steps}"


def _proofs(one: Measured, peer: str) -> list[str]:
    found = [f"{'; '.join(one.proof(peer).lines)}."]
    parted = one.parted(peer)
    if parted is not None:
        same = (
            "" if one.check is None else f" (its own {one.check.steps} steps in the file's order)"
        )
        found.append(f"losses, step by step, differ by {parted:.1e} of the loss at most{same}.")
    if one.kind in (*STEPPED, "prefix"):
        inside = [(side, one.inside(side)) for side in (one.sides[0], peer)]
        told = [f"{side} {spread.median:.3g} s" for side, spread in inside if spread]
        found.append(f"a step as each side times it itself: {', '.join(told)}.")
    if one.kind == "prefix":
        found.append(_of_the_count(one, peer))
    return found


def _of_the_count(one: Measured, peer: str) -> str:
    if one.untold() or one.operations is None:
        return one.untold()
    ratio = one.operations.ratio
    share = one.ratio(peer).median / ratio
    return f"counted operations would make it {ratio:.2f}: {share:.0%} of that reached."


def memory(found: Sequence[Measured]) -> str:
    """Peaks above the loaded model, from the runs of training."""
    heads = ["model", "backend", "work", "peer", "mindprint, MiB", "peer, MiB", "times as much"]
    lines = [_line(heads), _line(["---"] * 4 + ["---:"] * 3)]
    for one in found:
        ours = one.above(one.sides[0])
        for peer in one.sides[1:]:
            theirs = one.above(peer)
            cells = [_mib(ours), _mib(theirs), _times(ours, theirs)]
            lines.append(_line([_model(one), one.backend, one.kind, peer, *cells]))
    return "\n".join(lines)


def estimates(found: Sequence[dict[str, Any]]) -> str:
    """What `mindprint plan` says a process takes, beside the peak it had."""
    heads = ["work", "above the loaded model, MiB", "measured, MiB", "planned, MiB", "off by"]
    lines = [_line(heads), _line(["---"] + ["---:"] * 4)]
    for one in found:
        above = (one["peak"] - one["loaded"]) / MIB
        planned = one["planned"] / MIB
        cells = [f"{above:.0f}", f"{one['peak'] / MIB:.0f}", f"{planned:.0f}", f"{one['off']:+.1%}"]
        lines.append(_line([one["name"], *cells]))
    return "\n".join(lines)


def limits(rates: Sequence[Limit], found: Sequence[Measured]) -> str:
    """Shares of the limit, and the products that it was found with."""
    heads = ["model", "backend", "work", "seconds a step", "GFLOP needed", "done"]
    heads += ["GFLOP/s needed", "done", "of the best, needed", "done"]
    lines = [_line(heads), _line(["---"] * 3 + ["---:"] * 7)]
    for limit in rates:
        for one in found:
            if (
                limit.key == (*one.key[1:5], one.key[6])
                and one.kind in STEPPED
                and not one.untold()
            ):
                lines.append(_line(_shares(limit, one)))
    return "\n".join([*lines, *(line for limit in rates for line in ("", _rates(limit)))])


def _shares(limit: Limit, one: Measured) -> list[str]:
    if one.operations is None:
        raise ValueError(f"{one.kind}: the operations of a step were not counted")
    seconds = Spread.of(one.seconds(one.sides[0])).median
    counts = (one.operations.needed, one.operations.done)
    return [
        _model(one),
        one.backend,
        one.kind,
        f"{seconds:.3g}",
        *(f"{count / 1e9:.2f}" for count in counts),
        *(f"{count / seconds / 1e9:.0f}" for count in counts),
        *(f"{limit.share(count, seconds):.0%}" for count in counts),
    ]


def _rates(limit: Limit) -> str:
    name, best = limit.best
    told = "; ".join(f"{size} {rate:.0f}" for size, rate in limit.rates.items())
    where = f"{limit.backend}, {limit.device}, {limit.dtype}, {limit.threads} threads"
    return f"Products of {where}, GFLOP/s: {told}. Best: {name}, {best:.0f}."


def _model(one: Measured) -> str:
    return one.size if one.device == "cpu" else f"{one.size} ({one.device}, {one.dtype})"


def _seconds(one: Spread) -> str:
    return one.told(3 if one.median < 1 else 2)


def _mib(one: Spread | None) -> str:
    return "not told" if one is None else f"{one.median / MIB:.0f}"


def _times(ours: Spread | None, theirs: Spread | None) -> str:
    return "-" if ours is None or theirs is None else f"{ours.median / theirs.median:.2f}"


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"

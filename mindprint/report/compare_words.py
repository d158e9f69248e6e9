"""How a comparison words its figures: distances, ratios, shares, and who is meant by what."""

from __future__ import annotations

from mindprint.compare.model import (
    Agreement,
    Comparison,
    Curve,
    Distance,
    FirstParting,
    Measure,
    Parting,
    Side,
    StageKind,
)
from mindprint.report.scores import Difference, Interval
from mindprint.report.words import NONE, several, share, signed, signed_span, span, whole

STATES = {"base": "the base", "final": "at each topic's end"}


def distance(value: float | None) -> str:
    """Two significant digits, below a thousandth by powers of ten: `7.8e-7`, `0.013`, `0`."""
    if value is None:
        return NONE
    if value == 0 or 1e-3 <= abs(value) < 1e4:
        return f"{value:.2g}" if abs(value) < 10 else f"{value:.0f}"
    digits, _, exponent = f"{value:.1e}".partition("e")
    return f"{digits.removesuffix('.0')}e{int(exponent)}" if exponent else digits


def ratio(value: float, first: float) -> str:
    """`×1.82` of the first run's figure; empty where that is 0."""
    if first <= 0:
        return ""
    times = value / first
    return f"×{times:.2f}" if times < 10 else f"×{times:.0f}"


def part(count: int, of: int) -> str:
    """`1 234 of 1 240 (99.5 %)`; rounded down, so that 100 % means all."""
    if not of:
        return NONE
    tenths = count * 1000 // of
    return f"{whole(count)} of {whole(of)} ({tenths // 10}.{tenths % 10}\u00a0%)"


def changed(change: Difference | None) -> str:
    """A paired difference: `+0.02 (−0.05 to +0.09), within noise`."""
    if change is None:
        return NONE
    told = "higher" if change.rose else "lower" if change.fell else "within\u00a0noise"
    ends = signed_span(change.low, change.high).replace(" ", "\u00a0")
    return f"{signed(change.value)} ({ends}), {told}"


def around(value: float | None, interval: tuple[float, float] | None) -> str:
    """`0.78 (0.70–0.85)`."""
    if value is None or interval is None:
        return share(value)
    return f"{share(value)} ({span(*interval)})"


def reading(one: Interval | None) -> str:
    return NONE if one is None else around(one.value, (one.low, one.high))


def stage(name: StageKind, attempt: int) -> str:
    """`SFT`, `DPO, attempt 2`: attempts are counted from 0."""
    return name.upper() + (f", attempt {attempt + 1}" if attempt else "")


def figure_name(one: Curve | Parting) -> str:
    """`SFT loss`, `DPO margin, attempt 2`."""
    rest = f", attempt {one.attempt + 1}" if one.attempt else ""
    return f"{one.stage.upper()} {one.measure}{rest}"


def over(name: StageKind, measure: Measure) -> str:
    """What a distance is a share of."""
    if measure == "margin":
        return "of the margin, or of 1 where that is smaller"
    return "of the loss" if name == "sft" else "of the loss, or of 0.1 where that is smaller"


def title(comparison: Comparison, topic: str) -> str:
    """A topic's title; its id where no run has it."""
    return next((one.title for one in comparison.topics if one.id == topic), topic)


def makes(side: Side) -> str:
    """`torch with TRL on cpu, float32`."""
    engine = " with TRL" if side.engine == "trl" else ""
    without = f", without {several(len(side.dropped), 'topic')}" if side.dropped else ""
    return f"{side.backend}{engine} on {side.device}, {side.dtype}{without}"


def kept(parting: Parting) -> str:
    """How a stage kept to the first run's, as a sentence without its end."""
    worst = f"at most {distance(parting.worst)} apart"
    if parting.worst:
        worst += f", at step {whole(parting.worst_step)}"
    if parting.bound is None:
        return f"{worst}; no bound is claimed: {parting.because.rstrip('.')}"
    if parting.ended is not None and parting.step is None:
        taken = f"within {distance(parting.bound)} at the {several(parting.steps, 'step')} of both"
        return f"{taken}; step {whole(parting.ended)} is of one alone; {worst}"
    if parting.step is None:
        return f"within {distance(parting.bound)} at {_all(parting.steps)}; {worst}"
    return f"past {distance(parting.bound)} at step {whole(parting.step)}; {worst}"


def first(one: FirstParting) -> str:
    """Where a run leaves the first, and a guess at what makes runs part there."""
    guess = one.guess.rstrip(".")
    if one.apart is None:
        return f"{one.run} leaves at {one.where}: {guess}."
    told = f"its {one.measure} is {distance(one.apart)} apart, the bound is {distance(one.bound)}"
    return f"{one.run} leaves at {one.where}: {told}. A guess: {guess}."


def state(one: Agreement) -> str:
    return STATES[one.state]


def far(one: Distance) -> str:
    """`3.1e-5`, or why there is none."""
    return distance(one.relative) if one.relative is not None else one.because or NONE


def open_voice(comparison: Comparison) -> str:
    """How the voices of the topics and of the run are compared, and why where they are not."""
    whys = dict.fromkeys(
        f"{one.run}: {one.voice_because}"
        for one in comparison.overall
        if one.voice_because and all(one.voice)
    )
    return f"The voice is not paired for {'; '.join(whys)}." if whys else ""


def _all(steps: int) -> str:
    return f"all {several(steps, 'step')}" if steps != 1 else "its one step"

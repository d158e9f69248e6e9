"""Numbers as people read them: one place, so that every report writes a figure the same way."""

from __future__ import annotations

import math
import re

from mindprint.report.scores import StageName

NONE = "–"
LABELS: dict[StageName, str] = {
    "base": "base",
    "before": "before",
    "sft": "after SFT",
    "dpo": "after DPO",
    "final": "final",
}


def share(value: float | None) -> str:
    """A figure of the order of one with two places; a dash where nothing was measured."""
    if value is None or not math.isfinite(value):
        return NONE
    return _minus(f"{value:.2f}")


def signed(value: float | None, digits: int = 2) -> str:
    """A difference with its sign: `+0.77`, `−0.12`, `0.00`."""
    if value is None or not math.isfinite(value):
        return NONE
    rounded = round(value, digits)
    return _minus(f"{rounded:+.{digits}f}") if rounded else f"{0:.{digits}f}"


def span(low: float, high: float) -> str:
    """An interval of shares: `0.54–0.92`, or `−0.10 to 0.92` where a dash would be misread."""
    between = " to " if low < 0 else "–"
    return f"{share(low)}{between}{share(high)}"


def signed_span(low: float, high: float) -> str:
    """An interval of differences: `+0.54 to +0.92`."""
    return f"{signed(low)} to {signed(high)}"


def percent(value: float | None) -> str:
    """`8 %`, `0.4 %`, `0 %`: a share in hundredths."""
    if value is None or not math.isfinite(value):
        return NONE
    hundredths = 100 * value
    whole_enough = hundredths == 0 or abs(hundredths) >= 0.95
    return f"{hundredths:.0f}\u00a0%" if whole_enough else f"{hundredths:.2g}\u00a0%"


def probability(value: float | None) -> str:
    """Two significant digits; `< 0.0001` below that."""
    if value is None or not math.isfinite(value):
        return NONE
    if 0 < value < 1e-4:
        return "<\u00a00.0001"
    return f"{value:.2g}"


def typeset(text: str) -> str:
    """A verdict with true arrows and minus signs."""
    return re.sub(r"(?<=[ (])-(?=[0-9])", "−", text.replace(" -> ", " → "))


def spoken(text: str) -> str:
    """A verdict, typeset; each of its sentences begins with a capital."""
    return re.sub(r"(?:^|(?<=\. ))[a-z]", lambda found: found[0].upper(), typeset(text))


def sentence(text: str) -> str:
    """A verdict, typeset, that begins with a capital and ends with a stop."""
    said = spoken(text.rstrip())
    return said + "." if said and said[-1] not in ".!?" else said


def _minus(text: str) -> str:
    """A true minus sign, and none before a zero."""
    if text.strip("-0.") == "":
        return text.lstrip("-")
    return text.replace("-", "−")


def change(start: float | None, end: float | None) -> str:
    """`0.05 → 0.91`, or a dash where neither was measured."""
    if start is None and end is None:
        return NONE
    return f"{share(start)} → {share(end)}"


def figure(value: float | None) -> str:
    """A loss or a margin: three significant digits."""
    return "none" if value is None else f"{value:.3g}"


def whole(value: int) -> str:
    """Thousands apart by a thin space: 12 345."""
    return f"{value:,}".replace(",", "\u202f")


def seconds(value: float) -> str:
    """`0.4 s`, `48 s`, `3 min 05 s`, `2 h 10 min`."""
    if value < 10:
        return f"{value:.1f} s"
    total = round(value)
    if total < 60:
        return f"{total} s"
    minutes, rest = divmod(total, 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min"


def size(count: int) -> str:
    """Bytes with a binary unit."""
    value = float(count)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if value < 1024:
            return f"{value:.0f} {unit}" if unit in {"B", "KiB"} else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:.1f} TiB"


def parameters(count: int) -> str:
    """`3.4 M`, `7.6 B`."""
    if count >= 10**9:
        return f"{count / 10**9:.1f} B"
    if count >= 10**6:
        return f"{count / 10**6:.1f} M"
    return whole(count)


def operations(count: int) -> str:
    """`3.4 TFLOP`: floating-point operations, a number of them and no rate."""
    value = float(count)
    for unit in ("FLOP", "kFLOP", "MFLOP", "GFLOP", "TFLOP"):
        if value < 1000:
            return f"{value:.0f} {unit}" if unit == "FLOP" else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.1f} PFLOP"


def several(count: int, one: str, many: str = "") -> str:
    """`1 topic`, `6 topics`."""
    return f"{whole(count)} {one if count == 1 else many or one + 's'}"

"""Numbers as people read them: one place, so that every report writes a figure the same way."""

from __future__ import annotations

from mindprint.report.model import StageName

NONE = "–"
LABELS: dict[StageName, str] = {
    "base": "base",
    "before": "before",
    "sft": "after SFT",
    "dpo": "after DPO",
    "final": "final",
}


def share(value: float | None) -> str:
    """A share of one with two places; a dash where nothing was measured."""
    return NONE if value is None else f"{value:.2f}"


def change(start: float | None, end: float | None) -> str:
    """`0.05 → 0.91`, or a dash where neither was measured."""
    if start is None and end is None:
        return NONE
    return f"{share(start)} → {share(end)}"


def figure(value: float) -> str:
    """A loss or a margin: three significant digits."""
    return f"{value:.3g}"


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


def several(count: int, one: str, many: str = "") -> str:
    """`1 topic`, `6 topics`."""
    return f"{whole(count)} {one if count == 1 else many or one + 's'}"

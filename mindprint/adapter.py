"""The adapter that the settings ask for, and the settings that would ask for a given one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from backends.contract import AdapterSpec, Spline
from mindprint.config import AdapterSection, Config

if TYPE_CHECKING:
    from mindprint.plan import StageKind

SPLINE = ("knots", "grid", "interpolation", "outside", "identity_penalty", "spline_rate")
"""Settings below `adapter` that are LS-LoRA's alone."""


def spec_of(config: Config, stage: StageKind = "sft", seed: int | None = None) -> AdapterSpec:
    """The adapter that a stage attaches: a topic's, or the one that DPO adds over it
    (`dpo.adapter: new`). `seed` draws its first values, `run.seed` unless given.

    Raises ValueError for a spline that cannot be, which a plan refuses first.
    """
    section = config.adapter
    rank, targets = section.rank, section.targets
    if stage == "dpo":
        rank, targets = config.dpo.rank or rank, config.dpo.targets or targets
    ratio = rank / section.rank
    return AdapterSpec(
        rank=rank,
        # Another rank keeps the factor on the adapter: alpha follows.
        alpha=section.alpha * (ratio if section.scaling == "standard" else ratio**0.5),
        targets=targets,
        scaling=section.scaling,
        dropout=section.dropout,
        seed=config.run.seed if seed is None else seed,
        kind=section.kind,
        spline=spline_of(section),
    )


def spline_of(section: AdapterSection) -> Spline | None:
    """LS-LoRA's spline; None of the other kinds. Raises ValueError for one that cannot be."""
    if section.kind != "lslora":
        return None
    low, high = section.grid
    return Spline(
        knots=section.knots,
        low=low,
        high=high,
        interpolation=section.interpolation,
        outside=section.outside,
        penalty=section.identity_penalty,
        rate=section.spline_rate,
    )


def settings_of(spec: AdapterSpec) -> dict[str, Any]:
    """Values of the keys below `adapter`, its layers apart, that ask for an adapter like `spec`."""
    found: dict[str, Any] = {
        "kind": spec.kind,
        "rank": spec.rank,
        "alpha": spec.alpha,
        "scaling": spec.scaling,
        "dropout": spec.dropout,
    }
    if spec.spline is not None:
        own = spec.spline
        grid = (own.low, own.high)
        values = (own.knots, grid, own.interpolation, own.outside, own.penalty, own.rate)
        found |= zip(SPLINE, values, strict=True)
    return found


def foreign(section: AdapterSection) -> dict[str, Any]:
    """The settings of LS-LoRA's spline that are not as they are of themselves, with the values that
    an adapter of another kind needs."""
    plain = AdapterSection()
    odd = (name for name in SPLINE if getattr(section, name) != getattr(plain, name))
    return {name: getattr(plain, name) for name in odd}


def typed(values: Mapping[str, Any]) -> str:
    """The options that set these keys below `adapter`."""
    return " ".join(f"--set adapter.{name}={written(value)}" for name, value in values.items())


def told(spec: AdapterSpec) -> str:
    """What kind it is, in words; "" of plain LoRA."""
    if spec.spline is None:
        return "DoRA" if spec.kind == "dora" else ""
    own = spec.spline
    outside = "linear outside" if own.outside == "linear" else "clamped outside"
    grid = f"{own.knots} knots from {own.low:g} to {own.high:g}"
    return f"LS-LoRA, {grid}, {own.interpolation}, {outside}"


def written(value: Any) -> str:
    """As `--set` takes it."""
    if isinstance(value, tuple | list):
        return f"[{','.join(map(str, value))}]"
    return str(value)

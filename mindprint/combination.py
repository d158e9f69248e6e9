"""Settings that are sound alone and make no sense together, told before anything is loaded."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from mindprint.adapter import foreign, spline_of, typed
from mindprint.config import AdapterSection, Config
from mindprint.errors import ConfigError
from mindprint.handoff import PLAIN, packed_as

if TYPE_CHECKING:
    from backends.contract import Spline


def check_combination(config: Config) -> None:
    """Raises ConfigError."""
    _check_dpo(config)
    _check_spline(config.adapter)
    if config.handoff == "merge" and config.adapter.kind == "lslora":
        raise ConfigError(
            "`handoff: merge` adds a topic's adapter to the weights, and no weights can hold "
            "LS-LoRA's spline, which bends what its factors give",
            where="handoff, adapter.kind",
            hint="use `--set handoff=stack`, which keeps each as a branch beside the weights",
        )


def check_weights(config: Config, folder: Path) -> None:
    """Raises ConfigError where adapters would be merged into packed weights: those of the model in
    `folder`, or as the settings open it. Raises ModelError for weights that no backend opens."""
    packed = packed_as(config, folder)
    if config.handoff == "merge" and packed != PLAIN:
        raise ConfigError(
            f"`handoff: merge` adds adapters to the weights, and these are quantized ({packed}): "
            "rounded to them again, little of an adapter would be left",
            where="handoff, model.quantization",
            hint="use `--set handoff=stack`, which keeps adapters beside the weights, exactly",
        )


def _check_dpo(config: Config) -> None:
    if config.handoff == "continue" and config.dpo.adapter == "new":
        raise ConfigError(
            "`handoff: continue` keeps one adapter for all topics, `dpo.adapter: new` adds another",
            where="handoff, dpo.adapter",
            hint="use `dpo.adapter: continue`, or another handoff",
        )
    if config.dpo.adapter == "continue" and (config.dpo.rank or config.dpo.targets):
        named = "rank" if config.dpo.rank else "targets"
        raise ConfigError(
            f"`dpo.{named}` is for an adapter of DPO's own, but DPO continues the topic's",
            where=f"dpo.{named}",
            hint="set `dpo.adapter=new`, or leave it out",
        )


def _check_spline(section: AdapterSection) -> None:
    if section.kind != "lslora":
        _check_no_spline(section)
        return
    from backends.peft_files import KNOTS

    try:
        found: Spline | None = spline_of(section)
    except ValueError as error:
        raise ConfigError(
            f"LS-LoRA's spline cannot be: {error}",
            where="adapter.knots, adapter.grid",
            hint="an odd number of knots on a grid that is as wide below 0 as above it has one at "
            "0, such as `--set adapter.knots=5 --set adapter.grid=[-3,3]`",
        ) from error
    if found is not None and found.knots > KNOTS:
        raise ConfigError(
            f"a spline of {found.knots} knots would not be read again: {KNOTS} is the most",
            where="adapter.knots",
            hint="5 to 9 are usual: `--set adapter.knots=5`",
        )


def _check_no_spline(section: AdapterSection) -> None:
    """By their values: a fork keeps what its run was told, and a whole file names every key."""
    odd = foreign(section)
    if not odd:
        return
    keys = [f"adapter.{name}" for name in odd]
    raise ConfigError(
        f"{' and '.join(f'`{key}`' for key in keys)} {'is' if len(odd) == 1 else 'are'} for "
        f"LS-LoRA's spline, and `adapter.kind` is {section.kind}",
        where=", ".join(keys),
        hint=f"add `--set adapter.kind=lslora`, or put back `{typed(odd)}`",
    )

"""What `handoff: auto` stands for, and why."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from backends.model_files import read_config
from backends.packed_files import packing
from mindprint.config import Config
from mindprint.ledger import Handoff

PLAIN = "none"
"""`model.quantization` of weights that are not packed."""


def packed_as(config: Config, folder: Path) -> str:
    """How the weights of the model in `folder` will be packed, as far as that is told before they
    are opened; "none" where they are plain numbers. Raises ModelError for weights that neither
    backend opens."""
    if config.model.quantization != PLAIN:
        return config.model.quantization
    found = packing(read_config(folder), str(folder / "config.json"))
    return PLAIN if found is None else f"by {found.library}"


def handoff_of(
    config: Config, dtype: str, quantization: str = PLAIN, past: Collection[str] = ()
) -> Handoff:
    """As it is set; `auto` merges where that keeps an adapter, else stacks. `dtype`,
    `quantization`: of the weights; `past`: kinds of the adapters that the run begins with."""
    if config.handoff != "auto":
        return config.handoff
    return "stack" if why_stacked(config, dtype, quantization, past) else "merge"


def why_stacked(
    config: Config, dtype: str, quantization: str = PLAIN, past: Collection[str] = ()
) -> str:
    """Why `auto` does not merge; "" where it does."""
    if "lslora" in (config.adapter.kind, *past):
        return "LS-LoRA's spline bends what its factors give, which no weights can hold"
    if quantization != PLAIN:
        return f"the weights are quantized ({quantization}), so a merge would round the adapters"
    if dtype != "float32":
        return f"the weights are {dtype}, so a merge would round the adapters"
    return ""

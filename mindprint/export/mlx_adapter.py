"""`--to mlx-adapter`: the ledger folded into mlx-lm's adapter format, opened again by mlx-lm."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from backends import mlx_files
from backends.model_files import read_config
from mindprint.errors import ConfigError
from mindprint.export.adapter import One, advice, fold, made
from mindprint.export.checked import Checked, check_bound, verify
from mindprint.export.exact import Ground
from mindprint.export.form import FORMS, Asked, Done
from mindprint.export.model_config import GEMMA, with_both_spellings
from mindprint.export.plain import plain

SPELLINGS = ("rope_theta", "rope_local_base_freq", "rope_scaling", "partial_rotary_factor")
LLAMA = {"rope_theta": 10_000.0}
ASSUMED: Mapping[str, Mapping[str, float]] = {
    "llama": LLAMA,
    "mistral": LLAMA,
    "phi3": {"rope_theta": 10_000.0, "partial_rotary_factor": 1.0},
    "qwen2": {"rope_theta": 1_000_000.0},
    GEMMA: {"rope_theta": 1_000_000.0, "rope_local_base_freq": 10_000.0},
}
"""What mlx-lm takes where a config does not say it at its top (`ModelArgs` of each family); of
other families it reads `rope_parameters`."""


def write(ground: Ground, asked: Asked, folder: Path) -> Done:
    """Raises ExportRefused where plain mlx-lm loses more than the bound of the adapters' effect."""
    source = ground.source
    config = read_config(source.base)
    layers = (config.get("text_config") or config).get("num_hidden_layers")
    if not isinstance(layers, int):
        where = str(source.base / "config.json")
        raise ConfigError("the model's config names no number of layers", where=where)
    with plain(ground, folder) as base:
        one = fold(ground, asked, base)
        spec, held = one.held
        mlx_files.write(folder, spec, held, base=source.inputs.called, layers=layers)
        checked = verify(ground, base.folder, folder, FORMS[asked.to].opened, one.cut)
    odd = unread(config)

    def instead() -> str:
        # A rank that was cut is the likelier cause, and the nearer way out.
        ranked = advice(ground, asked, one)
        return ranked if one.kept.error or one.taken.fit else _whole(odd) if odd else ranked

    check_bound(checked, folder, instead)
    done = made(asked, one, base, checked)
    if odd and not _seen(checked, one):
        done = done.model_copy(update={"notes": (*done.notes, f"not ruled out: {odd}")})
    return done, checked


def unread(config: dict[str, object]) -> str:
    """What of the base's rope mlx-lm does not find in its config; empty where it finds all, or
    assumes as much."""
    family = str(config["model_type"])
    if family not in ASSUMED:
        return ""
    both = with_both_spellings(config)
    wanted = {key: both[key] for key in SPELLINGS if both.get(key)}
    found = {**ASSUMED[family], **config}
    missing = {key: value for key, value in wanted.items() if value != found.get(key)}
    if not missing:
        return ""
    told = ", ".join(f"`{key}` {value}" for key, value in missing.items())
    return (
        f"the base's config.json says {told} under `rope_parameters` alone, where mlx-lm may not "
        "look"
    )


def _whole(odd: str) -> str:
    return f"{odd}: export a whole model, `--to mlx` or `--to merged`, whose config says it twice"


def _seen(checked: Checked, one: One) -> bool:
    """Whether mlx-lm was held so close that a rope of its own would have been seen."""
    exact = one.cut.exact and bool(checked.verified)
    return exact and all(
        found.dtype == "float32" and found.measurable for found in checked.verified
    )

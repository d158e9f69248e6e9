"""`--to mlx-adapter`: the ledger folded into mlx-lm's adapter format, opened again by mlx-lm."""

from __future__ import annotations

from pathlib import Path

from backends import mlx_files
from backends.model_files import read_config
from mindprint.errors import ConfigError
from mindprint.export.adapter import advice, fold, made
from mindprint.export.checked import check_bound, verify
from mindprint.export.exact import Ground
from mindprint.export.form import FORMS, Asked, Done
from mindprint.export.model_config import with_both_spellings

SPELLINGS = ("rope_theta", "rope_local_base_freq", "rope_scaling", "partial_rotary_factor")


def write(ground: Ground, asked: Asked, folder: Path) -> Done:
    """Raises ExportRefused where plain mlx-lm loses more than the bound of the adapters' effect."""
    source = ground.source
    config = read_config(source.base)
    folded = fold(ground, asked)
    layers = config.get("num_hidden_layers")
    if not isinstance(layers, int):
        where = str(source.base / "config.json")
        raise ConfigError("the model's config names no number of layers", where=where)
    mlx_files.write(folder, folded.spec, folded.tensors, base=source.inputs.called, layers=layers)
    checked = verify(ground, source.base, folder, FORMS[asked.to].opened)
    check_bound(checked, folder, unread(config) or advice(ground, asked, folded))
    return made(asked, folded, checked), checked


def unread(config: dict[str, object]) -> str:
    """What of the base's rope mlx-lm does not find in its config; empty where it finds all."""
    both = with_both_spellings(config)
    wanted = {key: both[key] for key in SPELLINGS if both.get(key)}
    missing = {key: value for key, value in wanted.items() if value != config.get(key)}
    if not missing:
        return ""
    told = ", ".join(f"`{key}` {value}" for key, value in missing.items())
    return (
        f"the base's config.json says {told} under `rope_parameters` alone, where mlx-lm may not "
        "look: export a whole model, `--to mlx` or `--to merged`, whose config says it twice"
    )

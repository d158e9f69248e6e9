"""How many tokens a model reads at once, after its config."""

from __future__ import annotations

from typing import Any

from backends import model_files
from backends.contract import ModelSpec

UNKNOWN = 2048
"""Where the config names no number; lm-evaluation-harness's own figure."""
_KEYS = ("n_positions", "max_position_embeddings", "n_ctx")
# Rotary frequencies that change with the length of a row: past this key they are others.
_CHANGING = {"longrope": "original_max_position_embeddings", "dynamic": "max_position_embeddings"}


def most_positions(spec: ModelSpec) -> int:
    """The longest context and answer together, in tokens; one less than where the model's rotary
    frequencies change, since the last token of a row goes through the model too."""
    config = model_files.read_config(model_files.resolve(spec.path, spec.revision))
    text = config.get("text_config") or config
    most = next((int(text[key]) for key in _KEYS if text.get(key) is not None), UNKNOWN)
    limits = [limit - 1 for limit in map(text.get, _changing(text)) if isinstance(limit, int)]
    return min([most, *limits])


def _changing(config: dict[str, Any]) -> list[str]:
    """The keys that hold a limit of the frequencies."""
    given = config.get("rope_parameters") or config.get("rope_scaling") or {}
    nested = [value for value in given.values() if isinstance(value, dict)]
    kinds = {str(one.get("rope_type", one.get("type"))) for one in nested or [given]}
    return [key for kind, key in _CHANGING.items() if kind in kinds]

"""A merged model's config.json: what the base's says, spelt so that every reader finds it.

transformers 5 keeps the rope settings under `rope_parameters`; mlx-lm and what came before read
`rope_theta` and `rope_scaling` at the top. Both are written, from the values that transformers
itself would take.
"""

from __future__ import annotations

from typing import Any

Config = dict[str, Any]

THETA = 10_000.0
"""Where a config names no base, in every family that is served but Gemma 3."""
GEMMA_FULL, GEMMA_SLIDING = 1_000_000.0, 10_000.0
GEMMA = "gemma3_text"
FULL, SLIDING = "full_attention", "sliding_attention"
CODE = ("auto_map", "_name_or_path")
"""Names code of the folder's own, which an export does not carry; and a place of this machine."""


def merged_config(raw: Config, dtype: str, tied: bool) -> Config:
    """`dtype`: of the weights; `tied`: whether the head is the embedding."""
    config = {key: value for key, value in raw.items() if key not in CODE}
    config |= {"dtype": dtype, "torch_dtype": dtype, "tie_word_embeddings": tied}
    return with_both_spellings(config)


def with_both_spellings(raw: Config) -> Config:
    """The config with its rope settings as each reader looks for them; nothing else changes."""
    return _gemma(raw) if raw["model_type"] == GEMMA else _flat(raw)


def _flat(raw: Config) -> Config:
    given = dict(raw.get("rope_scaling") or raw.get("rope_parameters") or {})
    settings = {key: value for key, value in given.items() if key != "type"}
    settings["rope_type"] = given.get("rope_type") or given.get("type") or "default"
    settings.setdefault("rope_theta", raw.get("rope_theta", THETA))
    made = {**raw, "rope_theta": settings["rope_theta"]}
    partial = settings.get("partial_rotary_factor", raw.get("partial_rotary_factor"))
    if partial is not None:
        settings["partial_rotary_factor"] = made["partial_rotary_factor"] = partial
    made["rope_parameters"] = settings
    return _with_scaling(made, settings)


def _gemma(raw: Config) -> Config:
    nested = {kind: dict((raw.get("rope_parameters") or {}).get(kind) or {}) for kind in _KINDS}
    nested[FULL] |= raw.get("rope_scaling") or {}
    nested[FULL].setdefault("rope_theta", raw.get("rope_theta", GEMMA_FULL))
    nested[SLIDING].setdefault("rope_theta", raw.get("rope_local_base_freq", GEMMA_SLIDING))
    for settings in nested.values():
        settings["rope_type"] = settings.get("rope_type") or settings.pop("type", "default")
        settings.pop("type", None)
    made = {
        **raw,
        "rope_parameters": nested,
        "rope_theta": nested[FULL]["rope_theta"],
        "rope_local_base_freq": nested[SLIDING]["rope_theta"],
    }
    pattern = _pattern(raw.get("layer_types") or [])
    if pattern is not None:
        made["sliding_window_pattern"] = pattern
    return _with_scaling(made, nested[FULL])


_KINDS = (FULL, SLIDING)
_ELSEWHERE = frozenset({"rope_theta", "partial_rotary_factor"})


def _with_scaling(made: Config, settings: Config) -> Config:
    """`rope_scaling` where the rope is scaled; readers of it differ over `type` and `rope_type`."""
    made.pop("rope_scaling", None)
    if settings["rope_type"] != "default":
        scaling = {key: value for key, value in settings.items() if key not in _ELSEWHERE}
        made["rope_scaling"] = {**scaling, "type": settings["rope_type"]}
    return made


def _pattern(kinds: list[str]) -> int | None:
    """n where every n-th layer is a full one and no other: how mlx-lm is told of the kinds."""
    if FULL not in kinds:
        return None
    every = kinds.index(FULL) + 1
    wanted = [SLIDING if (place + 1) % every else FULL for place in range(len(kinds))]
    return every if kinds == wanted else None

"""config.json of a merged model: every reader finds the rope, whichever spelling it knows."""

from __future__ import annotations

from typing import Any

import pytest
from transformers import AutoConfig

from mindprint.export.model_config import merged_config, with_both_spellings

LLAMA3 = {
    "rope_type": "llama3",
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}
RAW: dict[str, dict[str, Any]] = {
    "new": {"model_type": "llama", "rope_parameters": {"rope_type": "default", "rope_theta": 7e2}},
    "old": {"model_type": "qwen2", "rope_theta": 7e2, "rope_scaling": None},
    "unsaid": {"model_type": "qwen2"},
    "scaled": {"model_type": "llama", "rope_parameters": {**LLAMA3, "rope_theta": 7e2}},
    "old-scaled": {
        "model_type": "qwen3",
        "rope_theta": 7e2,
        "rope_scaling": {"type": "linear", "factor": 2.0},
    },
    "partial": {"model_type": "phi3", "rope_theta": 7e2, "partial_rotary_factor": 0.5},
    "gemma": {
        "model_type": "gemma3_text",
        "num_hidden_layers": 2,
        "layer_types": ["sliding_attention", "full_attention"],
        "rope_parameters": {
            "full_attention": {"rope_type": "linear", "factor": 4.0, "rope_theta": 9e2},
            "sliding_attention": {"rope_type": "default", "rope_theta": 1.5e2},
        },
    },
    "old-gemma": {"model_type": "gemma3_text", "rope_theta": 9e2, "rope_local_base_freq": 1.5e2},
    "unsaid-gemma": {"model_type": "gemma3_text"},
}


def rope(raw: dict[str, Any]) -> Any:
    """What transformers takes from it."""
    own = {key: value for key, value in raw.items() if key != "model_type"}
    return AutoConfig.for_model(raw["model_type"], **own).rope_parameters


def stripped(settings: Any) -> Any:
    """Without `type`, which is `rope_type` once more."""
    if not isinstance(settings, dict):
        return settings
    return {key: stripped(value) for key, value in settings.items() if key != "type"}


@pytest.mark.parametrize("name", RAW)
def test_transformers_takes_the_same_rope(name: str) -> None:
    assert stripped(rope(with_both_spellings(RAW[name]))) == stripped(rope(RAW[name]))


@pytest.mark.parametrize("name", RAW)
def test_the_base_stands_at_the_top_and_below(name: str) -> None:
    made, wanted = with_both_spellings(RAW[name]), rope(RAW[name])
    if "gemma" in name:
        assert made["rope_theta"] == wanted["full_attention"]["rope_theta"]
        assert made["rope_local_base_freq"] == wanted["sliding_attention"]["rope_theta"]
        below = {kind: one["rope_theta"] for kind, one in made["rope_parameters"].items()}
        assert below == {kind: wanted[kind]["rope_theta"] for kind in below}
    else:
        assert made["rope_theta"] == made["rope_parameters"]["rope_theta"] == wanted["rope_theta"]
    assert with_both_spellings(made) == made


def test_scalings_go_along_in_both_spellings() -> None:
    made = with_both_spellings(RAW["scaled"])
    assert made["rope_scaling"] == {**LLAMA3, "type": "llama3"}
    assert with_both_spellings(RAW["gemma"])["rope_scaling"]["factor"] == 4.0
    assert "rope_scaling" not in with_both_spellings(RAW["old"])
    assert with_both_spellings(RAW["partial"])["partial_rotary_factor"] == 0.5


@pytest.mark.parametrize(
    ("kinds", "every"), [("sf", 2), ("ssfssf", 3), ("fs", None), ("ss", None), ("ssfs", 3)]
)
def test_every_so_many_layers_is_a_full_one(kinds: str, every: int | None) -> None:
    names = ["full_attention" if kind == "f" else "sliding_attention" for kind in kinds]
    made = with_both_spellings({"model_type": "gemma3_text", "layer_types": names})
    assert made.get("sliding_window_pattern") == every


def test_dtype_head_and_nothing_that_names_code_or_a_place() -> None:
    raw = {**RAW["old"], "auto_map": {"AutoModel": "evil.py"}, "_name_or_path": "/home/me"}
    made = merged_config(raw, "bfloat16", tied=True)
    assert made["dtype"] == made["torch_dtype"] == "bfloat16" and made["tie_word_embeddings"]
    assert "auto_map" not in made and "_name_or_path" not in made

"""How many tokens a config lets a model read at once."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from backends.contract import ModelSpec
from mindprint.evals.positions import UNKNOWN, most_positions

CONFIGS: list[tuple[dict[str, Any], int]] = [
    ({"max_position_embeddings": 512}, 512),
    ({}, UNKNOWN),
    ({"n_positions": 1024}, 1024),
    ({"max_position_embeddings": 90, "text_config": {"max_position_embeddings": 700}}, 700),
    # The row's last token goes through the model too, and must not change the frequencies.
    (
        {
            "max_position_embeddings": 9000,
            "original_max_position_embeddings": 4096,
            "rope_scaling": {"type": "longrope"},
        },
        4095,
    ),
    ({"max_position_embeddings": 300, "rope_parameters": {"rope_type": "dynamic"}}, 299),
    ({"max_position_embeddings": 300, "rope_scaling": {"rope_type": "linear"}}, 300),
    ({"max_position_embeddings": 300, "rope_parameters": {"a": {"rope_type": "dynamic"}}}, 299),
]


@pytest.mark.parametrize(("config", "most"), CONFIGS)
def test_most_positions(tmp_path: Path, config: dict[str, Any], most: int) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "llama", **config}))
    (tmp_path / "model.safetensors").write_bytes(b"")
    assert most_positions(ModelSpec(str(tmp_path))) == most

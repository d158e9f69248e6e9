"""What checkpoints say and loaders miss: rope bases and scalings, windows, Gemma's nesting.

The oracle is transformers' own model on the same files, in float32. Each trap is first shown to
matter: with the setting left out, transformers' logits are elsewhere by more than 1e-3.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from backends.contract import Batch
from backends.errors import ModelError
from tests.conformance.conftest import ModelFolder, OpenSession
from tests.conformance.oracle import plain_logits
from tests.conformance.trained import distance
from tests.tiny import make_model, random_batch

NEAR = 1e-5
"""Float32 in two frameworks, two layers, logits to about 6: 3e-6 to 7e-6 was measured."""
WIDTH = 90

PLAIN = {"rope_type": "default", "rope_theta": 30000.0}


def rope(kind: str, **settings: Any) -> dict[str, Any]:
    return {"rope_parameters": {"rope_type": kind, "rope_theta": 700.0, **settings}}


WINDOWED = {"use_sliding_window": True, "sliding_window": 16, "max_window_layers": 1}
SHORT = [1.0 + 0.1 * i for i in range(6)]
TRAPS: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    # id: (family, the setting, the same model without it)
    "llama-theta": ("llama", rope("default"), {"rope_parameters": PLAIN}),
    "qwen2-theta": ("qwen2", rope("default"), {"rope_parameters": PLAIN}),
    "qwen3-theta": ("qwen3", rope("default"), {"rope_parameters": PLAIN}),
    "mistral-theta": ("mistral", rope("default"), {"rope_parameters": PLAIN}),
    "phi3-theta": ("phi3", rope("default"), {"rope_parameters": PLAIN}),
    "phi3-partial": ("phi3", rope("default", partial_rotary_factor=0.5), rope("default")),
    "mistral-window": ("mistral", {"sliding_window": 16}, {"sliding_window": None}),
    "phi3-window": ("phi3", {"sliding_window": 16}, {"sliding_window": None}),
    "qwen2-window": ("qwen2", WINDOWED, {}),
    "qwen3-window": ("qwen3", WINDOWED, {}),
    "gemma-window": ("gemma3_text", {"sliding_window": 6}, {}),
    "gemma-nested-rope": (
        "gemma3_text",
        {
            "rope_parameters": {
                "full_attention": {"rope_type": "linear", "rope_theta": 900.0, "factor": 4.0},
                "sliding_attention": {"rope_type": "default", "rope_theta": 150.0},
            }
        },
        {},
    ),
    "gemma-layer-types": (
        "gemma3_text",
        {"num_hidden_layers": 2, "layer_types": ["full_attention", "sliding_attention"]},
        {},
    ),
    "gemma-softcap": ("gemma3_text", {"final_logit_softcapping": 5.0}, {}),
    "llama3-scaling": (
        "llama",
        rope(
            "llama3",
            factor=8.0,
            low_freq_factor=1.0,
            high_freq_factor=4.0,
            original_max_position_embeddings=64,
        ),
        rope("default"),
    ),
    "linear-scaling": ("qwen2", rope("linear", factor=4.0), rope("default")),
    "yarn-scaling": (
        "qwen3",
        rope("yarn", factor=4.0, original_max_position_embeddings=128),
        rope("default"),
    ),
    "yarn-mscale": (
        "llama",
        rope(
            "yarn",
            factor=4.0,
            original_max_position_embeddings=128,
            mscale=1.0,
            mscale_all_dim=0.5,
            beta_fast=16,
            truncate=False,
        ),
        rope("default"),
    ),
    "longrope-short": (
        "phi3",
        {
            **rope("longrope", short_factor=SHORT, long_factor=[4.0] * 6, factor=4.0),
            "original_max_position_embeddings": 128,
        },
        rope("default"),
    ),
    "biases": ("llama", {"attention_bias": True, "mlp_bias": True}, {}),
    "tied-head": ("llama", {"tie_word_embeddings": True}, {}),
}


def rows() -> Batch:
    return random_batch(np.random.default_rng(0), (WIDTH, 31, 2, 64))


@pytest.mark.parametrize("trap", TRAPS)
def test_logits_are_transformers(
    open_session: OpenSession, model_of: ModelFolder, backend: str, trap: str
) -> None:
    family, setting, _ = TRAPS[trap]
    folder, batch = model_of(family, **setting), rows()
    session = open_session(backend, folder, longest_row=WIDTH)
    assert distance(session.logits(batch), plain_logits(folder, batch)) < NEAR


@pytest.mark.parametrize("trap", TRAPS)
def test_each_trap_matters(model_of: ModelFolder, trap: str) -> None:
    family, setting, without = TRAPS[trap]
    batch = rows()
    right = plain_logits(model_of(family, **setting), batch)
    assert distance(right, plain_logits(model_of(family, **without), batch)) > 1e-3


def test_every_family_is_transformers(
    open_session: OpenSession, folder: Path, backend: str, family: str
) -> None:
    batch = rows()
    session = open_session(backend, folder)
    assert distance(session.logits(batch), plain_logits(folder, batch)) < NEAR
    assert session.info.window == (16 if family == "gemma3_text" else None)


def test_the_window_is_told(open_session: OpenSession, model_of: ModelFolder, backend: str) -> None:
    session = open_session(backend, model_of("mistral", sliding_window=16))
    assert session.info.window == 16


OLD: dict[str, dict[str, Any]] = {
    "llama": {"rope_theta": 700.0, "rope_scaling": {"type": "linear", "factor": 2.0}},
    "qwen2": {"rope_theta": 700.0},
    "qwen3": {"rope_theta": 700.0},
    "mistral": {"rope_theta": 700.0},
    "phi3": {"rope_theta": 700.0, "partial_rotary_factor": 0.5},
    "gemma3_text": {"rope_theta": 900.0, "rope_local_base_freq": 150.0},
}


def test_configs_of_older_transformers(
    open_session: OpenSession, tmp_path: Path, backend: str, family: str
) -> None:
    """The rope's base at the top level of config.json, as written before transformers 5."""
    make_model(tmp_path, family)
    before = plain_logits(tmp_path, rows())
    file = tmp_path / "config.json"
    config = json.loads(file.read_text("utf-8"))
    del config["rope_parameters"]
    file.write_text(json.dumps({**config, **OLD[family]}), "utf-8")
    wanted = plain_logits(tmp_path, rows())
    assert distance(wanted, before) > 1e-3
    session = open_session(backend, tmp_path)
    assert distance(session.logits(rows()), wanted) < NEAR


def test_an_unknown_family_names_those_served(
    open_session: OpenSession, tmp_path: Path, backend: str
) -> None:
    make_model(tmp_path, "llama")
    file = tmp_path / "config.json"
    config = json.loads(file.read_text("utf-8"))
    file.write_text(json.dumps({**config, "model_type": "gpt2"}), "utf-8")
    with pytest.raises(ModelError, match="cannot serve the model family `gpt2`") as found:
        open_session(backend, tmp_path)
    for name in ("llama", "qwen2", "qwen3", "mistral", "gemma3_text", "phi3"):
        assert name in found.value.hint

"""What MLX's layers leave out is refused with its name, before anything is computed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from backends import get
from backends.contract import GenerateSpec, ModelSpec
from backends.errors import BackendUnavailable, ModelError
from backends.mlx.plan import FULL, SLIDING, read_plan
from tests.tiny import make_model

REFUSED: dict[str, tuple[str, dict[str, Any], str]] = {
    "activation": ("llama", {"hidden_act": "gelu"}, "the activation `gelu`"),
    "gemma-activation": ("gemma3_text", {"hidden_activation": "silu"}, "the activation `silu`"),
    "bias": ("qwen3", {"attention_bias": True}, "attention_bias"),
    "softcap": ("gemma3_text", {"attn_logit_softcapping": 30.0}, "attn_logit_softcapping"),
    "bidirectional": ("gemma3_text", {"use_bidirectional_attention": True}, "bidirectional"),
    "head": ("qwen2", {"head_dim": 16}, "a head_dim other than"),
}


def edit(folder: Path, **changes: Any) -> None:
    file = folder / "config.json"
    file.write_text(json.dumps({**json.loads(file.read_text("utf-8")), **changes}), "utf-8")


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_left_out_is_refused(tmp_path: Path, case: str) -> None:
    family, changes, what = REFUSED[case]
    edit(make_model(tmp_path, family), **changes)
    with pytest.raises(ModelError, match=what) as found:
        read_plan(tmp_path, 100)
    assert found.value.where.endswith("config.json")
    assert "--backend torch" in found.value.hint


def test_a_config_that_transformers_refuses(tmp_path: Path) -> None:
    edit(make_model(tmp_path, "llama"), hidden_size="wide")
    with pytest.raises(ModelError, match="transformers refuses the model's config"):
        read_plan(tmp_path, 100)


def test_windows_per_layer(tmp_path: Path) -> None:
    plan = read_plan(make_model(tmp_path / "g", "gemma3_text"), 100)
    assert (plan.kinds, plan.window) == ((SLIDING, FULL), 16)
    assert plan.embed_scale == 48**0.5  # exact, not rounded to bfloat16
    plan = read_plan(make_model(tmp_path / "m", "mistral", sliding_window=9), 100)
    assert (plan.kinds, plan.window) == ((SLIDING, SLIDING), 9)
    plan = read_plan(make_model(tmp_path / "q", "qwen2", sliding_window=9), 100)
    assert (plan.kinds, plan.window) == ((FULL, FULL), None)  # use_sliding_window is off


def test_decoding_past_the_rotations_limit_is_refused(tmp_path: Path) -> None:
    rope = {"rope_type": "dynamic", "rope_theta": 700.0, "factor": 2.0}
    make_model(tmp_path, "llama", rope_parameters=rope, max_position_embeddings=40)
    session = get("mlx").open(ModelSpec(str(tmp_path), device="cpu", longest_row=40))
    prompt = list(range(3, 33))
    assert len(session.generate([prompt], GenerateSpec(10, ()))[0].ids) == 10
    with pytest.raises(ModelError, match="past 40 tokens, and rows of 41"):
        session.generate([prompt], GenerateSpec(11, ()))
    session.close()


@pytest.mark.parametrize(
    ("fields", "error", "what"),
    [
        ({"device": "cuda"}, BackendUnavailable, "`cuda` is not a device of MLX"),
        ({"device": "mps"}, BackendUnavailable, "`mps` is not a device of MLX"),
        ({"attention": "eager"}, ModelError, "no attention implementation `eager`"),
        ({"attention": "flash_attention_2"}, ModelError, "no attention implementation"),
    ],
)
def test_what_mlx_has_not(
    tmp_path: Path, fields: dict[str, Any], error: type[Exception], what: str
) -> None:
    make_model(tmp_path, "llama")
    with pytest.raises(error, match=what):
        get("mlx").open(ModelSpec(str(tmp_path), **fields))


def test_choices_carry_their_reasons(tmp_path: Path) -> None:
    make_model(tmp_path, "llama")
    session = get("mlx").open(ModelSpec(str(tmp_path), device="cpu"))
    told = {choice.key: choice for choice in session.choices}
    assert told["device"].name == "cpu"
    assert told["model.dtype"].name == session.info.dtype == "float32"
    assert told["model.attention"].name == "sdpa"
    assert told.keys() >= {"device", "model.dtype", "model.attention", "blas"}
    assert all(choice.because for choice in session.choices)
    session.close()

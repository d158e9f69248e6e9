"""Rotations against transformers' own functions."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from backends.bounds import rotary_limit
from backends.errors import ModelError
from backends.mlx.framework import mx
from backends.mlx.rope import Rope, Rotation, rotation

DIMS, POSITIONS = 16, 512

KINDS: dict[str, dict[str, Any]] = {
    "linear": {"factor": 4.0},
    "llama3": {
        "factor": 8.0,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 64,
    },
    "yarn": {"factor": 4.0, "original_max_position_embeddings": 128},
    "yarn-given-factor": {
        "factor": 4.0,
        "original_max_position_embeddings": 128,
        "attention_factor": 1.3,
        "beta_fast": 20.0,
        "beta_slow": 2.0,
    },
    "yarn-mscale": {
        "factor": 4.0,
        "original_max_position_embeddings": 128,
        "mscale": 0.7,
        "mscale_all_dim": 0.3,
        "truncate": False,
    },
    "longrope": {
        "factor": 4.0,
        "original_max_position_embeddings": 128,
        "short_factor": [1.0 + 0.1 * i for i in range(8)],
        "long_factor": [3.0] * 8,
    },
    "dynamic": {"factor": 4.0},
}


@pytest.mark.parametrize("theta", [700.0, 10000.0, 1e6])
@pytest.mark.parametrize("case", KINDS)
def test_rotations_are_transformers(case: str, theta: float) -> None:
    from transformers import AutoConfig
    from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

    kind = case.split("-")[0]
    config = AutoConfig.for_model(
        "llama",
        hidden_size=64,
        num_attention_heads=4,
        head_dim=DIMS,
        max_position_embeddings=POSITIONS,
        rope_parameters={"rope_type": kind, "rope_theta": theta, **KINDS[case]},
    )
    wanted, factor = ROPE_INIT_FUNCTIONS[kind](config, None)
    found = rotation(config.rope_parameters, DIMS, POSITIONS, "config.json")
    assert found.inverse.dtype == np.float32
    # Two float32 roundings; the ramps' weights are the same numbers.
    np.testing.assert_allclose(found.inverse, wanted.numpy(), rtol=5e-7)
    assert found.factor == pytest.approx(factor, rel=1e-12)
    limit = {"longrope": 128, "dynamic": POSITIONS}.get(kind)
    assert rotary_limit(config.rope_parameters, POSITIONS) == limit


def test_an_unknown_type_names_those_known() -> None:
    with pytest.raises(ModelError, match="rope type `spiral`") as found:
        rotation({"rope_type": "spiral", "rope_theta": 1e4}, DIMS, POSITIONS, "config.json")
    assert "llama3" in found.value.hint


def test_rotation_by_the_formula_with_an_offset_of_each_row() -> None:
    """Pairs (x[i], x[i + d/2]) turned by position * inverse[i], the rest left alone."""
    rng = np.random.default_rng(0)
    inverse = np.array([1.0, 0.3, 0.02], dtype=np.float32)
    x = rng.standard_normal((2, 3, 4, 10)).astype(np.float32)
    start = np.array([5, 70], dtype=np.int32)
    angle = (start[:, None] + np.arange(4))[:, None, :, None] * inverse.astype(np.float64)
    first, second = x[..., :3], x[..., 3:6]
    cosine, sine = 1.2 * np.cos(angle), 1.2 * np.sin(angle)
    turned = [first * cosine - second * sine, second * cosine + first * sine, x[..., 6:]]
    found = Rope(Rotation(inverse, factor=1.2))(mx.array(x), offset=mx.array(start))
    # Angles up to 73 in float32 are exact to 4e-6.
    assert np.abs(np.array(found) - np.concatenate(turned, axis=-1)).max() < 2e-5

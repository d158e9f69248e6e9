"""mlx-lm alone, without a line of ours: models that it gets right, their logits, its adapters."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from backends.contract import Batch
from tests.conformance.conftest import ModelFolder
from tests.tiny import make_tokenizer

LAYERS = 2
SHORT = (15, 2, 13, 9)
"""Rows that a window of 16 does not cut: mlx-lm forgets some families' windows."""


def speaks(folder: Path) -> bool:
    return (folder / "tokenizer.json").is_file()


def spelled_both_ways(folder: Path) -> Path:
    """The rope's base where mlx-lm looks for it as well: it reads the older place in most families.
    And a tokenizer, without which `mlx_lm.load` opens nothing."""
    file = folder / "config.json"
    config = json.loads(file.read_text("utf-8"))
    rope = config["rope_parameters"]
    config["rope_theta"] = rope.get("full_attention", rope)["rope_theta"]
    if "sliding_attention" in rope:
        config["rope_local_base_freq"] = rope["sliding_attention"]["rope_theta"]
    file.write_text(json.dumps(config), "utf-8")
    return folder if speaks(folder) else make_tokenizer(folder)


def for_mlx_lm(model_of: ModelFolder, family: str, **overrides: Any) -> Path:
    """A tiny model that mlx-lm computes as transformers does."""
    return spelled_both_ways(model_of(family, **exact(family), **overrides))


def exact(family: str) -> dict[str, Any]:
    """Gemma's embeddings are multiplied by the root of the hidden size, which mlx-lm rounds to
    bfloat16 whatever the weights: 8 is exact."""
    return {"hidden_size": 64, "head_dim": 20} if family == "gemma3_text" else {}


def logits(base: Path, batch: Batch, adapter: Path | None = None) -> np.ndarray[Any, Any]:
    """Of the real tokens, [tokens, vocabulary]."""
    import mlx.core as mx
    from mlx_lm import load

    mx.set_default_device(mx.cpu)
    model, _ = load(str(base), adapter_path=None if adapter is None else str(adapter))
    rows = [
        np.array(model(mx.array(ids[None, :length])))[0]
        for ids, length in zip(batch.ids, batch.lengths, strict=True)
    ]
    return np.concatenate(rows)


def saved_adapter(
    base: Path, folder: Path, keys: list[str] | None = None, kind: str = "lora"
) -> Path:
    """An adapter with drawn values in every tensor, as `mlx_lm.lora` makes and writes it."""
    import mlx.core as mx
    from mlx.utils import tree_flatten
    from mlx_lm import load
    from mlx_lm.tuner.utils import linear_to_lora_layers

    mx.set_default_device(mx.cpu)
    model, _ = load(str(base))
    model.freeze()
    settings: dict[str, Any] = {"rank": 4, "scale": 1.5, "dropout": 0.0}
    if keys is not None:
        settings["keys"] = keys
    linear_to_lora_layers(model, LAYERS, settings, use_dora=kind == "dora")
    rng = np.random.default_rng(41)
    drawn = [
        (name, held + 0.05 * mx.array(rng.standard_normal(held.shape).astype(np.float32)))
        for name, held in tree_flatten(model.trainable_parameters())
    ]
    folder.mkdir()
    mx.save_safetensors(str(folder / "adapters.safetensors"), dict(drawn))
    told = {"fine_tune_type": kind, "num_layers": LAYERS, "lora_parameters": settings}
    (folder / "adapter_config.json").write_text(json.dumps(told), "utf-8")
    return folder

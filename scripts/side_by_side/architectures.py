"""Small random models of every architecture, from their configurations: real files, real code."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np

VOCABULARY = 512
WINDOW = 16
"""Tokens that a sliding layer sees; most rows are longer."""

_SHARED: dict[str, Any] = {
    "hidden_size": 64,
    "intermediate_size": 112,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": VOCABULARY,
    "max_position_embeddings": 512,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
    # Not what a loader falls back to where it reads no base.
    "rope_parameters": {"rope_type": "default", "rope_theta": 30000.0},
}
_OWN: dict[str, dict[str, Any]] = {
    "llama": {"head_dim": 24},
    "qwen2": {},
    "qwen3": {"head_dim": 24},
    "mistral": {"head_dim": 24, "sliding_window": WINDOW},
    "gemma3_text": {
        "head_dim": 24,
        "sliding_window": WINDOW,
        "layer_types": ["sliding_attention", "sliding_attention", "full_attention"],
        "query_pre_attn_scalar": 24,
        "rope_parameters": {
            "full_attention": {"rope_type": "default", "rope_theta": 30000.0},
            "sliding_attention": {"rope_type": "default", "rope_theta": 5000.0},
        },
    },
    "phi3": {"sliding_window": WINDOW, "original_max_position_embeddings": 512},
}
NAMES = tuple(_OWN)

Kind = Literal["lora", "dora", "lslora"]
KINDS: tuple[Kind, ...] = get_args(Kind)


@dataclass(frozen=True)
class Architecture:
    """`tied`: the output head is the embedding. `frozen`: DPO trains an adapter of its own over the
    frozen one of SFT, and not that one on. `kind`: of both adapters."""

    name: str
    tied: bool
    frozen: bool
    kind: Kind = "lora"

    @property
    def title(self) -> str:
        kind = "" if self.kind == "lora" else f", {self.kind}"
        return f"{self.name}, {'tied' if self.tied else 'untied'}{kind}"

    @property
    def slides(self) -> bool:
        return "sliding_window" in _OWN[self.name]

    def without_window(self) -> dict[str, Any]:
        """Settings under which every layer sees all that came before."""
        if self.name == "gemma3_text":  # its window is no option, but it may be wider than any row
            return {"sliding_window": _SHARED["max_position_embeddings"]}
        return {"sliding_window": None}

    def make(self, folder: Path, **overrides: Any) -> int:
        """Write the model to `folder`; returns its number of parameters."""
        import torch
        from transformers import AutoConfig, AutoModelForCausalLM

        settings = {**_SHARED, **_OWN[self.name], "tie_word_embeddings": self.tied, **overrides}
        config = AutoConfig.for_model(self.name, **settings)
        model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
        rng = np.random.default_rng(17)
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                draws = rng.standard_normal(parameter.shape)
                parameter.copy_(torch.from_numpy(_scaled(name, draws, self.name)))
        model.save_pretrained(folder)
        return sum(parameter.numel() for parameter in model.parameters())


def both_ways(name: str, kind: Kind = "lora") -> tuple[Architecture, Architecture]:
    """An architecture with a head of its own, and with the embedding for a head."""
    own = Architecture(name, tied=False, frozen=True, kind=kind)
    return own, Architecture(name, tied=True, frozen=False, kind=kind)


def _scaled(name: str, draws: Any, family: str) -> Any:
    """Matrices that keep the size of what goes through them; norms and biases that are no 1 or 0,
    so that leaving one out would be seen."""
    if draws.ndim == 2:
        return draws / np.sqrt(draws.shape[1])
    if name.endswith("bias"):
        return 0.2 * draws
    return (0.0 if family == "gemma3_text" else 1.0) + 0.1 * draws

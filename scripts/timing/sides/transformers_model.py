"""A model as transformers opens it, for the peers on PyTorch."""

from __future__ import annotations

from typing import Any

import torch
from transformers import AutoModelForCausalLM

from timing.protocol import Spec


def opened(spec: Spec) -> Any:
    """The model, with every weight touched once: its file is mapped, and read as late as that."""
    model = AutoModelForCausalLM.from_pretrained(spec.model, dtype=getattr(torch, spec.dtype))
    model.to(spec.device)
    with torch.no_grad():
        model(torch.tensor([[1, 3]], device=spec.device))
    return model


def device_bytes(*, most: bool = False) -> int:
    if not torch.cuda.is_available():
        return 0
    return int(torch.cuda.max_memory_allocated() if most else torch.cuda.memory_allocated())

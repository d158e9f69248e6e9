"""The objectives written once more, plainly: transformers' own forward, weights W + scale B A, all
positions, one row at a time without padding, float64 where transformers lets it be, autograd."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np

from backends.contract import AdapterSpec, Batch, Objective, Params, Window


def loss_and_gradients(
    folder: Path,
    spec: AdapterSpec,
    params: Params,
    objective: Objective,
    batch: Batch,
    window: Window,
) -> tuple[float, Params]:
    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float64)
    leaves = {
        n: torch.tensor(a, dtype=torch.float64, requires_grad=True) for n, a in params.items()
    }
    weights = {}
    for path in {name.rsplit(".", 1)[0] for name in params}:
        delta = spec.scale * leaves[f"{path}.lora_B"] @ leaves[f"{path}.lora_A"]
        weights[f"{path}.weight"] = model.get_submodule(path).weight.detach() + delta
    sums = []
    for ids, length, mask in zip(batch.ids, batch.lengths, batch.mask, strict=True):
        row = torch.tensor(ids[:length]).long()[None]
        logits = torch.func.functional_call(model, weights, (row,)).logits
        logp = torch.log_softmax(logits[0, :-1], dim=-1)
        of_next = logp[torch.arange(length - 1), row[0, 1:]]
        sums.append(of_next[torch.tensor(mask[1:length])].sum())
    loss = loss_of(objective, sums, batch, window)
    loss.backward()
    return float(loss.detach()), {n: t.grad.numpy().astype(np.float32) for n, t in leaves.items()}


def plain_logits(folder: Path, batch: Batch, dtype: str = "float32") -> np.ndarray[Any, Any]:
    """transformers' own forward pass over the same files, float32 [rows, width, vocabulary]."""
    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(folder, dtype=getattr(torch, dtype)).eval()
    with torch.no_grad():
        logits = model(input_ids=torch.from_numpy(batch.ids).long()).logits
    return np.asarray(logits.float().numpy())


def loss_of(objective: Objective, sums: list[Any], batch: Batch, window: Window) -> Any:
    """The objective over the rows' summed log-probabilities, each a scalar tensor."""
    if objective.kind == "sft":
        return -sum(sums) / window.tokens
    if batch.reference is None:
        raise ValueError("pairs need a reference")
    half, total = len(sums) // 2, 0.0
    for index in range(half):
        chosen = sums[index] - float(batch.reference[index])
        rejected = sums[index + half] - float(batch.reference[index + half])
        if objective.loss == "length-normalised":
            chosen = chosen / float(batch.mask[index].sum())
            rejected = rejected / float(batch.mask[index + half].sum())
        total = total + _pair(objective, chosen - rejected) / window.pairs
        total = total - objective.sft_weight * sums[index] / window.tokens
    return total


def _pair(objective: Objective, gap: Any) -> Any:
    import torch

    if objective.loss == "ipo":
        return (gap - 1 / (2 * objective.beta)) ** 2
    if objective.loss == "hinge":
        return torch.clamp(1 - objective.beta * gap, min=0)
    return -torch.log(1 / (1 + torch.exp(-objective.beta * gap)))


LN2 = math.log(2.0)

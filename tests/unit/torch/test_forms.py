"""Norms, gated layers and AdamW in shorter forms: the numbers are those of the plain ones."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional

from backends.contract import ModelSpec, OptimizerSpec
from backends.torch.adamw import AdamW
from backends.torch.gated import Gated, GatedTogether, gated
from backends.torch.norms import FrozenGemmaNorm, FrozenNorm, freeze_norms
from backends.torch.session import TorchSession
from tests.tiny import FAMILIES


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_takes_the_shorter_forms(model_of: Any, family: str) -> None:
    """transformers may rename its classes; then nothing would fail, only be slower."""
    model = TorchSession(ModelSpec(str(model_of(family)))).opened.model
    norms = [m for name, m in model.named_modules() if name.endswith("norm")]
    assert norms and all(isinstance(m, FrozenNorm | FrozenGemmaNorm) for m in norms)
    layers = [type(layer.mlp) for layer in model.model.layers]
    wanted = {"phi3": GatedTogether, "gemma3_text": layers[0]}.get(family, Gated)
    assert set(layers) == {wanted}


@pytest.mark.parametrize("family", ["qwen2", "gemma3_text"])
@pytest.mark.parametrize("size", [1e-4, 1.0, 300.0])
def test_a_norm_is_its_formula(family: str, size: float) -> None:
    """transformers' own module in float64 is the oracle."""
    generator = torch.Generator().manual_seed(1)
    norm = _norm(family, 24)
    with torch.no_grad():
        norm.weight.copy_(torch.randn(24, generator=generator))
    norm.requires_grad_(False)
    x, upstream = (torch.randn(3, 5, 24, generator=generator) for _ in range(2))
    exact = (size * x).double().requires_grad_()
    mean = exact.square().mean(-1, keepdim=True)
    factor = norm.weight.double() + (1.0 if family == "gemma3_text" else 0.0)
    oracle = factor * exact * torch.rsqrt(mean + 1e-6)
    (wanted,) = torch.autograd.grad((oracle * upstream.double()).sum(), exact)
    mine = (size * x).requires_grad_()
    plain = norm(mine)
    freeze_norms(norm)
    found = norm(mine)
    (slope,) = torch.autograd.grad((found * upstream).sum(), mine)
    assert torch.equal(found, plain)
    assert (found - oracle).abs().max() < 1e-6 * oracle.abs().max()
    assert (slope - wanted).abs().max() < 2e-6 * wanted.abs().max()


@pytest.mark.parametrize("family", ["qwen2", "gemma3_text"])
def test_a_norm_in_bfloat16_keeps_its_input_narrow(family: str) -> None:
    norm = _norm(family, 24).to(torch.bfloat16).requires_grad_(False)
    x = torch.randn(7, 24).to(torch.bfloat16).requires_grad_()
    plain = norm(x)
    (wanted,) = torch.autograd.grad(plain.float().square().sum(), x)
    freeze_norms(norm)
    kept, hooks = _kept()
    with hooks:
        found = norm(x)
    assert not [t for t in kept if t.shape == x.shape and t.dtype == torch.float32]
    (slope,) = torch.autograd.grad(found.float().square().sum(), x)
    assert found.dtype == slope.dtype == torch.bfloat16
    assert torch.equal(found, plain)
    # Two units in the last of bfloat16's eight bits: what comes back is rounded once, not twice.
    assert (slope - wanted).abs().max() <= 2**-6 * wanted.abs().max()


def test_a_gate_is_its_formula_and_keeps_two_products() -> None:
    generator = torch.Generator().manual_seed(2)
    drawn = [3.0 * torch.randn(6, 40, generator=generator) for _ in range(3)]
    exact = [t.double().requires_grad_() for t in drawn[:2]]
    oracle = functional.silu(exact[0]) * exact[1]
    wanted = torch.autograd.grad((oracle * drawn[2].double()).sum(), exact)
    leaves = [t.clone().requires_grad_() for t in drawn[:2]]
    kept, hooks = _kept()
    with hooks:
        found = gated(*leaves)
    slopes = torch.autograd.grad((found * drawn[2]).sum(), leaves)
    assert len(kept) == 2
    assert (found - oracle).abs().max() < 1e-6 * oracle.abs().max()
    for mine, theirs in zip(slopes, wanted, strict=True):
        assert (mine - theirs).abs().max() < 1e-6 * theirs.abs().max()
    with torch.no_grad():
        assert torch.equal(gated(*(t.clone() for t in drawn[:2])), found)


def test_adamw_is_pytorchs_own() -> None:
    """Against torch.optim.AdamW in float64."""
    generator = torch.Generator().manual_seed(3)
    starts = {name: torch.randn(8, 24, generator=generator) for name in "ab"}
    ours = {name: nn.Parameter(start.clone()) for name, start in starts.items()}
    theirs = {name: nn.Parameter(start.double()) for name, start in starts.items()}
    optimizer = AdamW(OptimizerSpec(weight_decay=0.1), ours)
    oracle = torch.optim.AdamW(theirs.values(), lr=1e-3, weight_decay=0.1)
    for _ in range(20):
        given = {name: torch.randn(8, 24, generator=generator) for name in "ab"}
        optimizer.step(given, 1e-3, optimizer.room())
        for name, held in theirs.items():
            held.grad = given[name].double()
        oracle.step()
    for name, held in ours.items():
        # Two roundings a step of numbers up to 4; the parameters moved by 2e-2.
        assert (held.double() - theirs[name]).abs().max() < 20 * 2 * 2**-23


def _kept() -> tuple[list[Any], Any]:
    """What is kept for the way back inside the context."""
    kept: list[Any] = []

    def keep(tensor: Any) -> Any:
        kept.append(tensor)
        return tensor

    return kept, torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor)


def _norm(family: str, size: int) -> Any:
    if family == "gemma3_text":
        from transformers.models.gemma3.modeling_gemma3 import Gemma3RMSNorm

        return Gemma3RMSNorm(size)
    from transformers.models.qwen2.modeling_qwen2 import Qwen2RMSNorm

    return Qwen2RMSNorm(size)

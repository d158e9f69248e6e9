"""Sixteen bits: what is rounded where, and that nothing is lost beside it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional

from backends.contract import AdapterSpec, ModelSpec, Objective, OptimizerSpec
from backends.torch import head, products
from backends.torch.session import TorchSession
from tests.tiny import random_batch


@pytest.mark.parametrize("dropout", [0.0, 0.3])
@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_an_adapter_in_training_can_be_merged(model_of: Any, dtype: Any, dropout: float) -> None:
    """A merge is measured in float32 arithmetic, over weights that are stored in 16 bits."""
    session = TorchSession(ModelSpec(str(model_of("qwen2", dtype=dtype)), dtype=dtype))
    past, spec = AdapterSpec(rank=2), AdapterSpec(rank=4, dropout=dropout)
    rng = np.random.default_rng(7)
    for name, kind in (("first", past), ("second", spec)):
        session.adapters.add(kind, name)
        values = session.adapters.parameters()
        learner = session.learner(Objective("sft"), OptimizerSpec())
        learner.assign(
            {k: (0.3 * rng.standard_normal(v.shape)).astype("f4") for k, v in values.items()}
        )
        if name == "first":
            session.adapters.freeze(name)
    batch = random_batch(np.random.default_rng(8))
    beside = session.logprobs(batch).rows
    report = session.adapters.merge_and_unload(0.5)
    assert report.layers > 0 and report.lost < 0.1
    # 10 or so tokens a row, of activations with 8 bits.
    assert np.abs(session.logprobs(batch).rows - beside).max() < 1.0


@pytest.mark.parametrize("cap", [None, 30.0])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_the_slope_holds_where_a_token_is_nearly_certain(
    dtype: torch.dtype, cap: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Head rows with much in common: what is left of them in the slope must not be rounding's."""
    monkeypatch.setattr(head, "BLOCK_BYTES", {"cpu": 0})
    generator = torch.Generator().manual_seed(1)
    common = 3 * torch.randn(1, 128, generator=generator)
    weight = (0.05 * (torch.randn(4000, 128, generator=generator) + common)).to(dtype)
    targets = torch.randint(0, 4000, (24,), generator=generator)
    apart = weight[targets].float() - weight.float().mean(0)
    far = 20.0 * apart / apart.square().sum(dim=1, keepdim=True)
    hidden = (0.3 * torch.randn(24, 128, generator=generator) + far).to(dtype)
    exact = hidden.double().requires_grad_()
    logits = exact @ weight.double().T
    logits = logits if cap is None else torch.tanh(logits / cap) * cap
    oracle = torch.log_softmax(logits, dim=1).gather(1, targets[:, None])[:, 0]
    assert 0.99 < oracle.exp().median() < 1.0 - 1e-5
    (wanted,) = torch.autograd.grad(oracle.sum(), exact)
    mine = hidden.clone().requires_grad_()
    found = head.logprobs(mine, targets, weight, None, cap)
    (slope,) = torch.autograd.grad(found.sum(), mine)
    off = (slope.double() - wanted).norm(dim=1) / wanted.norm(dim=1)
    # In bfloat16 the target's logit of about 20 is off by up to 2^-4, and q by its exponential; in
    # float16 by 2^-7, and slopes near 2e-6 are stored in steps of 6e-8.
    assert off.median() < {torch.bfloat16: 6e-2, torch.float16: 2e-2}[dtype]


def test_a_block_may_hold_nothing_but_the_target(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(head, "block_size", lambda *_: 1)
    hidden = torch.randn(3, 8, generator=torch.Generator().manual_seed(2)).requires_grad_()
    weight, targets = torch.eye(4, 8), torch.tensor([0, 1, 3])
    found = head.logprobs(hidden, targets, weight, None, None)
    oracle = -functional.cross_entropy(hidden @ weight.T, targets, reduction="none")
    assert torch.allclose(found, oracle, atol=1e-6)  # float32
    slopes = [torch.autograd.grad(value.sum(), hidden)[0] for value in (found, oracle)]
    assert torch.allclose(*slopes, atol=1e-6)


@pytest.mark.parametrize("alone", [False, True])
def test_gradients_of_factors_survive_float16(alone: bool) -> None:
    """A young B and a small gradient: their product is far below what float16 can hold."""
    generator = torch.Generator().manual_seed(3)

    def drawn(*shape: int) -> Any:
        return torch.randn(*shape, generator=generator)

    x, weight = drawn(40, 48).half().requires_grad_(), drawn(56, 48).half()
    a, b = drawn(4, 48).requires_grad_(), (1e-4 * drawn(56, 4)).requires_grad_()
    upstream = (1e-4 * drawn(40, 56)).half()
    y = products.low_rank(x, a, b, 2.0)
    if not alone:
        y = products.adapted(x, weight, None, None, (a, b), 2.0)
    found = torch.autograd.grad(y, [a, b], upstream)
    wide = upstream.double()
    exact = x.detach().double()
    to_a = 2.0 * (wide @ b.detach().double()).T @ exact
    to_b = 2.0 * wide.T @ (exact @ a.detach().double().T)
    for mine, oracle in zip(found, (to_a, to_b), strict=True):
        assert mine.dtype == torch.float32 and (mine != 0).all()
        # `low` is kept in float16: eleven bits.
        assert (mine - oracle).norm() < 1e-3 * oracle.norm()


@pytest.mark.parametrize("wanted", [(True, True), (False, True)])
def test_the_factors_alone_are_their_formula(wanted: tuple[bool, bool]) -> None:
    generator = torch.Generator().manual_seed(4)
    shapes = ((2, 5, 12), (4, 12), (9, 4))
    x, a, b = (torch.randn(*shape, generator=generator) for shape in shapes)
    leaves = [x.requires_grad_(wanted[0]), a.requires_grad_(), b.requires_grad_()]
    asked = [leaf for leaf in leaves if leaf.requires_grad]
    upstream = torch.randn(2, 5, 9, generator=generator)
    found = products.low_rank(leaves[0], leaves[1], leaves[2], 0.5)
    oracle = 0.5 * x @ a.T @ b.T
    assert torch.allclose(found, oracle, atol=1e-5)  # float32
    for mine, theirs in zip(
        torch.autograd.grad(found, asked, upstream),
        torch.autograd.grad(oracle, asked, upstream),
        strict=True,
    ):
        assert mine.shape == theirs.shape and torch.allclose(mine, theirs, atol=1e-5)


def test_autocast_is_obeyed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(products, "_ON_THIS_MACHINE", True)
    monkeypatch.setattr(products, "_LEAST", 0)
    x, layer = torch.randn(3, 8), torch.nn.Linear(8, 5).requires_grad_(False)
    products.freeze_linears(layer)
    assert isinstance(layer, products.FrozenLinear) and products.suits(x, layer.weight)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert layer(x).dtype == torch.bfloat16
    assert products.suits(x, layer.weight)


@pytest.mark.parametrize("fault", ["renamed", "other arguments", "other result", "no kernel"])
def test_another_pytorch_loses_the_kernel_and_nothing_else(
    fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def other(x: Any, weight: Any) -> Any:
        return x @ weight.T

    monkeypatch.setattr(products, "_KERNEL", lambda x, weight, *_: x @ weight.T)
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: True)
    monkeypatch.setattr(torch.cpu, "_is_avx512_supported", lambda: True)
    assert products._works()
    if fault == "renamed":
        monkeypatch.delattr(torch.cpu, "_is_avx512_supported")
    elif fault == "other arguments":
        monkeypatch.setattr(products, "_KERNEL", other)
    elif fault == "other result":
        monkeypatch.setattr(products, "_KERNEL", lambda x, weight, *_: x @ weight.T + 1)
    else:
        monkeypatch.setattr(products, "_KERNEL", None)
    assert not products._works()

"""What makes training fast changes no number: each lever against the plain form."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional

from backends import prefix
from backends.contract import AdapterSpec, Batch, ModelSpec, Objective, OptimizerSpec
from backends.torch import head, layout, losses, passes, products
from backends.torch.session import TorchSession
from tests.tiny import FAMILIES, pack, preference_batch, random_batch, window_of, with_reference

LONG = ((19, 5, 4), (24, 3, 8), (13, 4, 2), (22, 6, 6))
"""Pairs with prompts long enough, (prompt, chosen, rejected), that sharing them pays."""


def _learning(model_of: Any, family: str, spec: AdapterSpec, **settings: Any) -> TorchSession:
    attention = settings.pop("attention", "auto")
    session = TorchSession(ModelSpec(str(model_of(family, **settings)), attention=attention))
    session.adapters.add(spec, "topic")
    rng = np.random.default_rng(7)
    state = session.adapters.parameters()
    moved = {k: (0.1 * rng.standard_normal(v.shape)).astype(np.float32) for k, v in state.items()}
    learner = session.learner(Objective("sft"), OptimizerSpec())
    learner.assign(moved)
    return session


def _close(found: dict[str, Any], plain: dict[str, Any]) -> None:
    # Float32 sums in another order; the losses' bound is the contract's 1e-5.
    for name, values in plain.items():
        largest = max(1e-3, float(np.abs(values).max()))
        assert np.abs(found[name] - values).max() < 2e-5 * largest, name


@pytest.mark.parametrize("cap", [None, 3.0])
@pytest.mark.parametrize("blocks", [1, 5])
def test_the_head_without_logits_is_cross_entropy(
    cap: float | None, blocks: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    generator = torch.Generator().manual_seed(1)
    hidden = torch.randn(13, 24, generator=generator)
    weight, bias = torch.randn(1200, 24, generator=generator), torch.randn(1200)
    targets = torch.randint(0, 1200, (13,), generator=generator)
    targets[0], targets[1] = 0, 1199
    monkeypatch.setattr(head, "BLOCK_BYTES", {"cpu": 4 * 13 * (1280 if blocks == 1 else 256)})
    assert -(-1200 // head.block_size(13, 1200, "cpu")) == blocks
    mine = hidden.clone().requires_grad_()
    found = head.logprobs(mine, targets, weight, bias, cap)
    upstream = torch.randn(13, generator=generator)
    (slope,) = torch.autograd.grad((found * upstream).sum(), mine)
    exact = hidden.double().requires_grad_()
    logits = functional.linear(exact, weight.double(), bias.double())
    logits = logits if cap is None else torch.tanh(logits / cap) * cap
    oracle = -functional.cross_entropy(logits, targets, reduction="none")
    (wanted,) = torch.autograd.grad((oracle * upstream.double()).sum(), exact)
    assert (found - oracle).abs().max() < 1e-5  # float32 logits of about 15
    assert (slope - wanted).abs().max() < 2e-5
    with torch.no_grad():
        assert torch.equal(head.logprobs(hidden, targets, weight, bias, cap), found)


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize(
    ("family", "settings"),
    [
        *((family, {}) for family in FAMILIES),
        ("mistral", {"sliding_window": 8}),
        ("phi3", {"sliding_window": 8}),
        ("qwen2", {"use_sliding_window": True, "sliding_window": 8, "max_window_layers": 1}),
        ("qwen3", {"use_sliding_window": True, "sliding_window": 8, "max_window_layers": 1}),
        ("gemma3_text", {"sliding_window": 8}),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_shared_prompt_changes_nothing(
    model_of: Any,
    family: str,
    settings: dict[str, Any],
    attention: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    session = _learning(model_of, family, AdapterSpec(rank=4), attention=attention, **settings)
    batch = preference_batch(np.random.default_rng(2), LONG)
    found = layout.shared(batch, torch.device("cpu"))
    assert found is not None and found.ids.numel() < 0.7 * batch.ids.size
    learner = session.learner(Objective("dpo", sft_weight=0.5), OptimizerSpec())
    reference = session.logprobs(batch).rows + np.float32(0.1) * np.arange(8, dtype=np.float32)
    batch = replace(batch, reference=reference)
    tokens = session.logprobs(batch, per_token=True).tokens
    loss, gradients = learner.gradients(batch, window_of(batch))
    monkeypatch.setattr(losses, "takes_masks", lambda _: False)
    plain = session.logprobs(batch, per_token=True).tokens
    assert tokens is not None and plain is not None
    assert np.abs(tokens - plain).max() < 2e-5  # log-probabilities of about -6
    plain_loss, plain_gradients = learner.gradients(batch, window_of(batch))
    assert abs(loss - plain_loss) < 1e-5 * abs(plain_loss)
    _close(gradients, plain_gradients)


def test_several_answers_to_one_question_stand_in_one_row() -> None:
    rng = np.random.default_rng(3)
    heads = [rng.integers(3, 320, size=size) for size in (20, 17)]
    rows = [np.concatenate([heads[0], rng.integers(3, 320, size=n)]) for n in (3, 5, 3)]
    rows.append(np.concatenate([heads[1], rng.integers(3, 320, size=9)]))
    batch = pack([rows[0], rows[3], *rows[1:3]], [20, 17, 20, 20])
    found = layout.shared(batch, torch.device("cpu"))
    assert found is not None
    assert found.ids.shape[0] == 2 and found.segments[0].unique().tolist() == [-1, 0, 1, 3, 4]
    row, place = found.own
    assert torch.equal(found.targets, torch.from_numpy(batch.ids).long()[row, place])
    assert torch.equal(found.places[found.before] + 1, place)
    seen = layout.block_mask(found, 4)[:, 0]
    assert seen.any(dim=2).all()  # no position sees nothing, padding neither
    for query in seen[0].nonzero():
        mine, other = found.segments[0][query]
        assert other in (0, mine) or mine == other == -1


def test_prompts_are_not_shared_where_it_cannot_pay() -> None:
    batch = random_batch(np.random.default_rng(4))
    assert prefix.shared(batch) is None
    assert layout.shared(batch, torch.device("cpu")) is None


@pytest.mark.parametrize("family", FAMILIES)
def test_the_last_layer_may_leave_out_what_nobody_reads(
    model_of: Any, family: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = _learning(model_of, family, AdapterSpec(rank=4))
    batch = random_batch(np.random.default_rng(5), (21, 24, 17), prompts=(15, 19, 9))
    learner = session.learner(Objective("sft"), OptimizerSpec())
    loss, gradients = learner.gradients(batch, window_of(batch))
    monkeypatch.setattr(passes, "NARROW", -1.0)
    plain_loss, plain = learner.gradients(batch, window_of(batch))
    assert abs(loss - plain_loss) < 1e-5 * abs(plain_loss)
    _close(gradients, plain)
    assert not [m for m in session.opened.model.modules() if "forward" in vars(m)]


@pytest.mark.parametrize("dropout", [0.0, 0.3])
@pytest.mark.parametrize("family", ["qwen2", "gemma3_text"])
def test_checkpointing_changes_nothing(model_of: Any, family: str, dropout: float) -> None:
    """Dropout's masks are drawn again as they were, and the stream stands where it would."""
    session = _learning(model_of, family, AdapterSpec(rank=4, dropout=dropout))
    batch = random_batch(np.random.default_rng(6))
    before = torch.get_rng_state()
    calls: list[int] = []

    def count(*_: Any) -> None:
        calls.append(1)

    counted = session.opened.model.model.layers[0].mlp.register_forward_pre_hook(count)
    found = []
    for checkpointing in (False, True):
        learner = session.learner(
            Objective("sft"), OptimizerSpec(seed=5), checkpointing=checkpointing
        )
        stats = [learner.accumulate(batch, window_of(batch)) for _ in range(2)]
        found.append((stats, learner.apply(0.0, None), learner.state(), len(calls)))
    counted.remove()
    plain, again = found
    assert again[:2] == plain[:2]
    assert (plain[3], again[3]) == (2, 2 + 4)  # each layer once without, twice with
    for key, value in plain[2].items():
        assert np.array_equal(again[2][key], value), key
    assert torch.equal(torch.get_rng_state(), before)
    assert not [m for m in session.opened.model.modules() if "forward" in vars(m)]


class _Dropping(torch.nn.Module):  # type: ignore[misc]
    """Draws as dropout does on Metal, from a generator that PyTorch's checkpoints do not keep."""

    def __init__(self, generator: Any) -> None:
        super().__init__()
        self._generator = generator

    def forward(self, x: Any) -> Any:
        return x.square() * (torch.rand(x.shape, generator=self._generator) < 0.5)


def test_checkpointing_draws_the_same_masks_on_metal(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = torch.Generator().manual_seed(9)
    monkeypatch.setattr(torch.mps, "get_rng_state", generator.get_state)
    monkeypatch.setattr(torch.mps, "set_rng_state", generator.set_state)
    layers = torch.nn.ModuleList(_Dropping(generator) for _ in range(2))
    x = torch.rand(64, generator=torch.Generator().manual_seed(1)).add_(1.0).requires_grad_()
    with passes._recomputed(layers, torch.device("mps")):
        y = layers[1](layers[0](x))
    after = generator.get_state()
    (slope,) = torch.autograd.grad(y.sum(), x)
    assert torch.equal(slope != 0, y != 0) and 0 < int((y != 0).sum()) < 64
    assert torch.equal(generator.get_state(), after)


def test_checkpointing_and_shared_prompts_together(model_of: Any) -> None:
    session = _learning(model_of, "gemma3_text", AdapterSpec(rank=4))
    batch = with_reference(preference_batch(np.random.default_rng(2), LONG), session)
    found = []
    for checkpointing in (False, True):
        learner = session.learner(Objective("dpo"), OptimizerSpec(), checkpointing=checkpointing)
        found.append(learner.gradients(batch, window_of(batch)))
    assert found[0][0] == found[1][0]
    for name, values in found[0][1].items():
        assert np.array_equal(found[1][1][name], values)


@pytest.mark.parametrize("past", [False, True])
@pytest.mark.parametrize("kernel", [False, True])
def test_an_adapted_layer_is_its_formula(
    past: bool, kernel: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(products, "_LEAST", 0 if kernel else 1 << 60)
    generator = torch.Generator().manual_seed(8)

    def drawn(*shape: int) -> Any:
        return torch.randn(*shape, generator=generator)

    x, weight, bias = drawn(3, 50, 24), drawn(40, 24), drawn(40)
    a, b, old_a, old_b = drawn(4, 24), drawn(40, 4), drawn(6, 24), drawn(40, 6)
    leaves = [t.clone().requires_grad_() for t in (x, a, b)]
    factors = (old_a, old_b) if past else None
    found = products.adapted(leaves[0], weight, bias, factors, (leaves[1], leaves[2]), 0.5)
    upstream = drawn(3, 50, 40)
    gradients = torch.autograd.grad((found * upstream).sum(), leaves)
    exact = [t.double().requires_grad_() for t in (x, a, b)]
    wanted = functional.linear(exact[0], weight.double(), bias.double())
    wanted = wanted + 0.5 * exact[0] @ exact[1].T @ exact[2].T
    if past:
        wanted = wanted + exact[0] @ old_a.double().T @ old_b.double().T
    oracle = torch.autograd.grad((wanted * upstream.double()).sum(), exact)
    assert (found - wanted).abs().max() < 1e-5 * wanted.abs().max()
    for mine, theirs in zip(gradients, oracle, strict=True):
        assert mine.shape == theirs.shape and mine.dtype == torch.float32
        assert (mine - theirs).abs().max() < 1e-5 * theirs.abs().max()


def test_in_bfloat16_activations_stay_narrow_and_gradients_wide() -> None:
    x = torch.randn(7, 24, dtype=torch.bfloat16, requires_grad=True)
    weight = torch.randn(40, 24, dtype=torch.bfloat16)
    a, b = torch.randn(4, 24, requires_grad=True), torch.randn(40, 4, requires_grad=True)
    kept: list[Any] = []

    def keep(tensor: Any) -> Any:
        kept.append(tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        y = products.adapted(x, weight, None, None, (a, b), 2.0)
    assert y.dtype == torch.bfloat16
    assert not [t for t in kept if t.shape == x.shape and t.dtype == torch.float32]
    to_x, to_a, to_b = torch.autograd.grad(y.float().sum(), [x, a, b])
    assert (to_x.dtype, to_a.dtype, to_b.dtype) == (torch.bfloat16, a.dtype, b.dtype)


def test_the_loss_is_read_after_the_way_back(
    model_of: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One wait for the device a batch, when all its work is queued."""
    session = _learning(model_of, "llama", AdapterSpec(rank=4))
    batch: Batch = with_reference(preference_batch(np.random.default_rng(2)), session)
    order: list[str] = []
    for owner, name in (
        (torch.autograd, "grad"),
        (torch.Tensor, "item"),
        (torch.Tensor, "tolist"),
        (torch.Tensor, "nonzero"),
    ):
        real = getattr(owner, name)

        def noted(*args: Any, _real: Any = real, _name: str = name, **kwargs: Any) -> Any:
            order.append(_name)
            return _real(*args, **kwargs)

        monkeypatch.setattr(owner, name, noted)
    session.learner(Objective("dpo"), OptimizerSpec()).accumulate(batch, window_of(batch))
    assert order == ["grad", "tolist"]

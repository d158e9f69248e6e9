"""DoRA and LS-LoRA on PyTorch: against PEFT's own model, float64, NumPy and torch.optim."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from peft import LoraConfig, get_peft_model
from torch import nn
from transformers import AutoModelForCausalLM

from backends import lora, spline
from backends.contract import (
    AdapterSpec,
    Batch,
    ModelSpec,
    Objective,
    OptimizerSpec,
    Params,
    Spline,
    Window,
)
from backends.torch.adamw import AdamW
from backends.torch.base_weight import dense
from backends.torch.chain import Entry
from backends.torch.magnified import magnified
from backends.torch.packed import EightBitLinear
from backends.torch.past import Past, PastLinear
from backends.torch.session import TorchSession
from backends.torch.spline import bent
from tests.tiny import part, preference_batch, random_batch, window_of, with_reference

DORA = AdapterSpec(rank=3, alpha=6.0, kind="dora", seed=3)
LSLORA = AdapterSpec(rank=3, alpha=6.0, kind="lslora", spline=Spline(), seed=3)
FORMS = [
    Spline(knots=5, low=-3.0, high=3.0, interpolation=interpolation, outside=outside)
    for interpolation in ("piecewise", "soft")
    for outside in ("linear", "clamp")
]
SEED = 11

# PEFT 0.21 still asks transformers under the older name.
pytestmark = pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning")


@pytest.fixture
def opened(model_of: Any) -> Any:
    """A session on the tiny Qwen2, whose layers have biases in part."""
    return TorchSession(ModelSpec(str(model_of("qwen2")), dtype="float32", device="cpu"))


def shaken(values: Params, seed: int) -> Params:
    """Values that an adapter could have learned: every kind of tensor has moved from its start."""
    rng = np.random.default_rng(seed)
    found: Params = {}
    for name, array in values.items():
        drawn = rng.standard_normal(array.shape)
        if name.endswith((lora.name_a(""), lora.name_b(""))):
            found[name] = (0.2 * drawn).astype("f4")
        elif name.endswith(lora.name_v("")):
            found[name] = (array + 0.3 * drawn).astype("f4")
        else:
            found[name] = (array * (1.0 + 0.2 * drawn)).astype("f4")
    return found


def learned(session: TorchSession, spec: AdapterSpec, name: str, seed: int) -> Params:
    """An adapter in training with such values, and these."""
    session.adapters.add(spec, name)
    values = shaken(session.adapters.parameters(), seed)
    session.learner(Objective("sft"), OptimizerSpec()).assign(values)
    return values


# DoRA against PEFT's own


def peft_model(folder: Path, spec: AdapterSpec, values: Params) -> Any:
    """PEFT's DoRA with these values over transformers' own model."""
    base = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    config = LoraConfig(
        r=spec.rank,
        lora_alpha=spec.alpha,
        target_modules="all-linear",
        lora_dropout=spec.dropout,
        use_dora=True,
        task_type="CAUSAL_LM",
    )
    model = get_peft_model(base, config).eval()
    with torch.no_grad():
        for name, parameter in _theirs(model).items():
            parameter.copy_(torch.from_numpy(values[name]))
    return model


def _theirs(model: Any) -> dict[str, Any]:
    """PEFT's parameters by contract name."""
    return {
        name.removeprefix("base_model.model.").removesuffix(".default.weight"): parameter
        for name, parameter in model.named_parameters()
        if parameter.requires_grad
    }


def peft_gradients(model: Any, batch: Batch, window: Window) -> tuple[float, Params]:
    ids = torch.from_numpy(batch.ids).long()
    logp = torch.log_softmax(model(input_ids=ids).logits[:, :-1].float(), dim=-1)
    of_next = logp.gather(2, ids[:, 1:, None])[..., 0]
    loss = -(of_next * torch.from_numpy(batch.mask[:, 1:])).sum() / window.tokens
    loss.backward()
    return loss.item(), {name: p.grad.numpy() for name, p in _theirs(model).items()}


def near(found: Params, wanted: Params, bound: float) -> None:
    assert found.keys() == wanted.keys()
    for name, oracle in wanted.items():
        apart = np.abs(found[name] - oracle).max()
        assert apart <= bound * max(1.0, np.abs(oracle).max()), (name, apart)


@pytest.mark.parametrize("dropout", [0.0, 0.4])
def test_dora_is_pefts_own(opened: TorchSession, model_of: Any, dropout: float) -> None:
    """Logits, loss and gradients of three values one after another: the norms are worked out
    anew for each. The masks of dropout are drawn alike."""
    spec = replace(DORA, dropout=dropout)
    batch = random_batch(np.random.default_rng(5))
    window = window_of(batch)
    opened.adapters.add(spec, "topic")
    learner = opened.learner(Objective("sft"), OptimizerSpec(seed=SEED))
    start = opened.adapters.parameters()
    for values in (start, shaken(start, 1), shaken(start, 2)):
        learner.assign(values)
        model = peft_model(model_of("qwen2"), spec, values)
        with torch.no_grad():
            oracle = model(input_ids=torch.from_numpy(batch.ids).long()).logits.numpy()
        # Two orders of float32 sums over two layers, logits up to 5: 1e-5 of their size.
        assert np.abs(opened.logits(batch) - oracle).max() < 1e-5 * np.abs(oracle).max()
        for module in model.modules():
            if hasattr(module, "lora_dropout"):
                module.train()
        before = torch.get_rng_state()
        torch.manual_seed(SEED)
        loss, wanted = peft_gradients(model, batch, window)
        torch.set_rng_state(before)
        own, found = learner.gradients(batch, window)
        assert own == pytest.approx(loss, rel=1e-5)
        near(found, wanted, 1e-5)


def test_dora_over_a_past_is_pefts_over_the_weights_with_the_past_in_them(
    opened: TorchSession, model_of: Any, tmp_path: Path
) -> None:
    """PEFT's own can only go over a model whose weights have the past in them, densely."""
    batch = random_batch(np.random.default_rng(6))
    window = window_of(batch)
    for name, spec in (("first", AdapterSpec(rank=2, alpha=4.0)), ("second", DORA)):
        learned(opened, spec, name, seed=len(name))
        opened.adapters.freeze(name)
    whole = AutoModelForCausalLM.from_pretrained(model_of("qwen2"), dtype=torch.float32)
    with torch.no_grad():
        for path, layer in opened.opened.model.named_modules():
            if isinstance(layer, PastLinear):
                whole.get_submodule(path).weight.copy_(_dense(layer))
    whole.save_pretrained(tmp_path)
    opened.adapters.add(DORA, "topic")
    for name, array in opened.adapters.parameters().items():
        if name.endswith(lora.name_m("")):
            weight = whole.get_submodule(name.rpartition(".")[0]).weight
            np.testing.assert_allclose(array, weight.norm(dim=1).detach().numpy(), rtol=1e-5)
    beside = opened.logits(batch)
    with opened.adapters.using(("first", "second")):
        assert np.abs(opened.logits(batch) - beside).max() < 1e-5  # g is 1: nothing but rounding
    values = shaken(opened.adapters.parameters(), 4)
    learner = opened.learner(Objective("sft"), OptimizerSpec())
    learner.assign(values)
    loss, wanted = peft_gradients(peft_model(tmp_path, DORA, values), batch, window)
    own, found = learner.gradients(batch, window)
    assert own == pytest.approx(loss, rel=1e-5)
    near(found, wanted, 2e-5)  # the past adds a rounding of its own on either side


def _dense(layer: PastLinear) -> Any:
    """c W0 + B A, float32, worked out in float64."""
    c, pair = layer.chain.c, layer.chain.pair
    assert pair is not None
    a, b = pair
    whole = layer.original.weight.double() * (1.0 if c is None else c.double()[:, None])
    return (whole + b.double() @ a.double()).float()


def test_a_fresh_dora_is_its_base_to_the_bit(opened: TorchSession) -> None:
    batch = random_batch(np.random.default_rng(7))
    base = opened.logits(batch)
    opened.adapters.add(DORA, "topic")
    assert np.array_equal(opened.logits(batch), base)


def test_a_row_of_zeros_stays_one() -> None:
    layer = nn.Linear(6, 4).requires_grad_(False)
    layer.weight[1] = 0.0
    past = PastLinear(layer)
    a, b = torch.randn(2, 6), torch.randn(4, 2)
    b[1] = 0.0
    past.add("only", Entry(a, b, magnitudes=torch.ones(4)))
    past.select(["only"])
    y = past(torch.randn(3, 6))
    assert torch.isfinite(y).all() and torch.allclose(y[:, 1], layer.bias[1].expand(3))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_stretched_output_is_its_formula(dtype: Any) -> None:
    generator = torch.Generator().manual_seed(8)
    y, upstream = (torch.randn(2, 5, 7, generator=generator).to(dtype) for _ in range(2))
    g = 1.0 + 0.1 * torch.randn(7, generator=generator)
    bias = torch.randn(7, generator=generator).to(dtype)
    leaves = [y.clone().requires_grad_(), g.clone().requires_grad_()]
    exact = [y.double().requires_grad_(), g.double().requires_grad_()]
    found = magnified(leaves[0], leaves[1], bias)
    oracle = exact[1] * (exact[0] - bias.double()) + bias.double()
    assert found.dtype == dtype
    rounding = torch.finfo(dtype).eps
    assert (found - oracle).abs().max() < 4 * rounding * oracle.abs().max()
    slopes = torch.autograd.grad(found, leaves, upstream)
    wanted = torch.autograd.grad(oracle, exact, upstream.double())
    for mine, theirs in zip(slopes, wanted, strict=True):
        assert (mine - theirs).abs().max() < 4 * rounding * theirs.abs().max()
    assert torch.equal(magnified(y, torch.ones(7), bias), y)


# The spline


def places(spec: Spline, shape: tuple[int, ...], seed: int) -> Any:
    """Float64 numbers inside the grid and outside, none nearer than 0.01 to a knot, where a
    piecewise spline has no derivative."""
    rng = np.random.default_rng(seed)
    drawn = rng.uniform(2 * spec.low, 2 * spec.high, size=shape)
    for knot in spline.knots(spec):
        close = np.abs(drawn - knot) < 0.01
        drawn = np.where(close, knot + 0.05, drawn)
    return torch.from_numpy(drawn)


@pytest.mark.parametrize("spec", [*FORMS, Spline(7, -1.0, 2.0), Spline(7, -1.0, 2.0, "soft")])
def test_the_splines_way_back_is_its_derivative(
    spec: Spline, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of z, the values and the scales, in float64; over several blocks."""
    from backends.torch import spline as module

    monkeypatch.setattr(module, "BLOCK", {"cpu": 7})
    rng = np.random.default_rng(9)
    scales = torch.tensor([0.9, -1.3], dtype=torch.float64, requires_grad=True)
    z = (places(spec, (4, 6), 10) / 0.9).requires_grad_()
    moved = spline.knots(spec) + 0.5 * rng.standard_normal(spec.knots)
    values = torch.from_numpy(moved).requires_grad_()
    assert torch.autograd.gradcheck(
        lambda z, values, scales: bent(z, values, scales, spec),
        (z, values, scales),
        eps=1e-6,
        atol=1e-7,
        rtol=1e-6,
    )
    wanted = -1.3 * spline.phi(0.9 * z.detach().numpy(), moved, spec)
    np.testing.assert_allclose(bent(z, values, scales, spec).detach(), wanted, atol=1e-12)


@pytest.mark.parametrize("spec", FORMS)
def test_the_spline_begins_as_the_identity_everywhere(spec: Spline) -> None:
    """To the bit, up to a hundred times the grid, in every type; and 0 stays 0."""
    generator = torch.Generator().manual_seed(12)
    values = torch.from_numpy(spline.knots(spec)).float()
    for dtype in (torch.float32, torch.bfloat16, torch.float16):
        z = (100.0 * spec.high * torch.randn(3000, generator=generator)).to(dtype)
        assert torch.equal(bent(z, values, torch.ones(2), spec), z)
    moved = values + torch.randn(spec.knots, generator=generator)
    at_zero = bent(torch.zeros(40), moved, torch.ones(2), spec)
    # `soft` meets its own value at 0 from two kernels, which may round an exponential apart.
    assert at_zero.abs().max() <= (0.0 if spec.interpolation == "piecewise" else 1e-6)


def test_the_spline_keeps_z_alone() -> None:
    kept: list[Any] = []

    def keep(tensor: Any) -> Any:
        kept.append(tensor)
        return tensor

    z = torch.randn(64, 32).bfloat16().requires_grad_()
    values = torch.from_numpy(spline.knots(Spline())).float().requires_grad_()
    scales = torch.ones(2).requires_grad_()
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        y = bent(z, values, scales, Spline())
    assert y.dtype == torch.bfloat16
    assert sum(tensor.numel() for tensor in kept) == z.numel() + 5 + 2
    slopes = torch.autograd.grad(y.float().sum(), [z, values, scales])
    assert [slope.dtype for slope in slopes] == [torch.bfloat16, torch.float32, torch.float32]


# The chain

ORDERS = [
    ("lora", "dora", "lslora", "dora"),
    ("dora", "dora", "lora"),
    ("lslora", "lora", "lslora", "dora"),
    ("lslora",),
    ("lora", "lora"),
]


def drawn_entry(rng: np.random.Generator, kind: str, out: int, inputs: int, rank: int) -> Entry:
    def tensor(*shape: int) -> Any:
        return torch.from_numpy(rng.standard_normal(shape).astype("f4"))

    a, b = 0.3 * tensor(rank, inputs), 0.3 * tensor(out, rank)
    if kind == "dora":
        return Entry(a, b, magnitudes=1.0 + tensor(out).abs())
    if kind == "lslora":
        form = FORMS[int(rng.integers(len(FORMS)))]
        values = torch.from_numpy(spline.knots(form)).float() + 0.3 * tensor(form.knots)
        return Entry(a, b, spline=form, values=values, scales=1.0 + 0.2 * tensor(2))
    return Entry(a, b)


def by_hand(weight: Any, bias: Any, entries: Sequence[Entry], x: Any) -> NDArray[np.float64]:
    """Float64, every weight written out."""
    total, beside = weight.double(), torch.zeros((), dtype=torch.float64)
    for entry in entries:
        delta = entry.b.double() @ entry.a.double()
        if entry.spline is not None:
            before, after = entry.scales.double().tolist()
            u = before * (x.double() @ delta.T).numpy()
            beside = beside + after * torch.from_numpy(spline.phi(u, entry.values, entry.spline))
            continue
        total = total + delta
        if entry.magnitudes is not None:
            total = (entry.magnitudes.double() / total.norm(dim=1))[:, None] * total
    return np.asarray((x.double() @ total.T + bias.double() + beside).numpy())


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("kinds", ORDERS)
def test_a_chain_is_the_dense_sum_of_its_adapters(kinds: tuple[str, ...], packed: bool) -> None:
    """All of it, and every part of it that `using` can leave."""
    rng, (out, inputs) = np.random.default_rng(13), (20, 12)
    base = _packed(rng, out, inputs) if packed else nn.Linear(inputs, out).requires_grad_(False)
    layer = PastLinear(base)
    entries = {
        f"{place} {kind}": drawn_entry(rng, kind, out, inputs, 2 + place)
        for place, kind in enumerate(kinds)
    }
    for name, entry in entries.items():
        layer.add(name, entry)
    x = torch.from_numpy(rng.standard_normal((2, 5, inputs)).astype("f4")).requires_grad_()
    for left_out in (None, *entries):
        names = [name for name in entries if name != left_out]
        layer.select(names)
        oracle = by_hand(dense(base), base.bias, [entries[name] for name in names], x.detach())
        found = layer(x).detach().numpy()
        # A dozen float32 roundings of numbers of this size.
        assert np.abs(found - oracle).max() < 2e-6 * max(1.0, np.abs(oracle).max())
    slope = torch.autograd.grad(layer(x).sum(), x)[0]
    assert torch.isfinite(slope).all() and slope.abs().max() > 0


def _packed(rng: np.random.Generator, out: int, inputs: int) -> Any:
    """An 8-bit layer as bitsandbytes leaves it."""
    layer: Any = EightBitLinear(inputs, out).requires_grad_(False)
    whole = torch.from_numpy(rng.integers(-127, 128, size=(out, inputs)).astype("i1"))
    layer.weight = nn.Parameter(whole, requires_grad=False)
    scales = torch.from_numpy(rng.uniform(0.5, 1.0, size=out).astype("f4"))
    layer.absmax = nn.Parameter(scales, requires_grad=False)
    return layer


def test_a_way_back_through_a_chain_is_that_of_its_weight() -> None:
    """The gradient to what a layer is given, which is all that passes through a frozen one."""
    rng = np.random.default_rng(14)
    base = nn.Linear(12, 20).requires_grad_(False)
    entries = [drawn_entry(rng, kind, 20, 12, 3) for kind in ("lora", "dora", "lora")]
    layer = PastLinear(base)
    for place, entry in enumerate(entries):
        layer.add(str(place), entry)
    layer.select(layer.entries)
    x, upstream = torch.randn(7, 12, requires_grad=True), torch.randn(7, 20)
    (found,) = torch.autograd.grad(layer(x), x, upstream)
    ends = [
        by_hand(base.weight, base.bias, entries, one) for one in (torch.eye(12), torch.zeros(1, 12))
    ]
    weight = torch.from_numpy((ends[0] - ends[1]).T)
    assert (found - upstream.double() @ weight).abs().max() < 1e-5 * found.abs().max()


# A session with each kind


@pytest.mark.parametrize("spec", [DORA, LSLORA])
def test_what_trains_is_named_by_the_contract(opened: TorchSession, spec: AdapterSpec) -> None:
    prints = opened.adapters.base_fingerprint()
    wanted: dict[str, tuple[int, ...]] = {}
    for path, layer in opened.opened.linears().items():
        wanted |= lora.shapes(spec, path, layer.out_features, layer.in_features)
    opened.adapters.add(spec, "topic")
    assert opened.adapters.trainable() == wanted
    assert {name: a.shape for name, a in opened.adapters.parameters().items()} == wanted
    assert opened.adapters.base_fingerprint() == prints


@pytest.mark.parametrize("spec", [DORA, LSLORA])
def test_pefts_switches_act_on_every_tensor(opened: TorchSession, spec: AdapterSpec) -> None:
    batch = random_batch(np.random.default_rng(15))
    base = opened.logits(batch)
    learned(opened, spec, "topic", seed=16)
    training = opened.attachments.training
    assert training is not None
    acting = opened.logits(batch)
    training.enable(False)
    assert opened.adapters.trainable() == {}
    assert np.array_equal(opened.logits(batch), base)
    training.enable(True)
    assert opened.adapters.trainable().keys() == opened.adapters.parameters().keys()
    assert np.array_equal(opened.logits(batch), acting)
    assert np.abs(acting - base).max() > 0.01


@pytest.mark.parametrize("past", [DORA, LSLORA])
@pytest.mark.parametrize("spec", [DORA, LSLORA])
def test_a_reference_that_peft_copies_is_the_adapter(
    opened: TorchSession, spec: AdapterSpec, past: AdapterSpec
) -> None:
    """What TRL does to the model it is handed: a second adapter by the first one's names, and a
    switch between both; and the past is below either."""
    batch = random_batch(np.random.default_rng(17))
    ids = torch.from_numpy(batch.ids).long()
    learned(opened, past, "past", seed=18)
    opened.adapters.freeze("past")
    values = learned(opened, spec, "topic", seed=19)
    wanted = opened.logits(batch)
    bound = 1e-5 * np.abs(wanted).max()  # float32
    with opened.attachments.wrapped() as model, torch.no_grad():
        assert opened.adapters.parameters().keys() == values.keys()
        assert np.abs(model(input_ids=ids).logits.numpy() - wanted).max() < bound
        model.add_adapter("ref", model.peft_config["default"])
        for name, parameter in model.named_parameters():
            if ".default." in name:
                other = model.get_parameter(name.replace(".default.", ".ref."))
                other.data.copy_(parameter.data)
                parameter.mul_(1.5)
        moved = model(input_ids=ids).logits.numpy()
        assert np.abs(moved - wanted).max() > 0.01
        model.set_adapter("ref")
        assert np.abs(model(input_ids=ids).logits.numpy() - wanted).max() < bound
        model.set_adapter("default")
        with model.disable_adapter(), opened.adapters.using(("past",)):
            below = model(input_ids=ids).logits.numpy()
    with opened.adapters.using(("past",)):
        assert np.abs(opened.logits(batch) - below).max() < bound
    assert np.abs(opened.logits(batch) - moved).max() < bound  # as the trainer left it
    assert opened.adapters.active() == ("past", "topic")


@pytest.mark.parametrize("dropout", [0.0, 0.3])
@pytest.mark.parametrize("spec", [DORA, LSLORA])
def test_recomputed_activations_give_the_same_gradients(
    opened: TorchSession, spec: AdapterSpec, dropout: float
) -> None:
    batch = random_batch(np.random.default_rng(20))
    learned(opened, replace(spec, dropout=dropout), "topic", seed=21)
    found = [
        opened.learner(
            Objective("sft"), OptimizerSpec(seed=SEED), checkpointing=checkpointing
        ).gradients(batch, window_of(batch))
        for checkpointing in (False, True)
    ]
    assert found[0][0] == found[1][0]
    assert all(np.array_equal(found[1][1][name], found[0][1][name]) for name in found[0][1])


@pytest.mark.parametrize(
    ("spec", "dtype"), [(DORA, "bfloat16"), (DORA, "float16"), (LSLORA, "bfloat16")]
)
def test_sixteen_bits_train_and_merge(model_of: Any, spec: AdapterSpec, dtype: Any) -> None:
    """Masters stay float32; a merge is measured in float32 arithmetic, over a past too."""
    session = TorchSession(ModelSpec(str(model_of("qwen2", dtype=dtype)), dtype=dtype))
    batch = random_batch(np.random.default_rng(22))
    for name in ("first", "second"):
        session.adapters.add(spec, name)
        learner = session.learner(Objective("sft"), OptimizerSpec())
        values = shaken(session.adapters.parameters(), len(name))
        for key, array in values.items():
            if spec.spline is not None and key.endswith(lora.name_v("")):
                values[key] = spline.knots(spec.spline).astype(array.dtype)  # else it is no weight
        learner.assign(values)
        stats = learner.accumulate(batch, window_of(batch))
        assert np.isfinite(stats.loss)
        held = learner.gradients(batch, window_of(batch))[1]
        assert all(array.dtype == np.float32 and np.abs(array).max() > 0 for array in held.values())
        learner.discard()
        if name == "first":
            session.adapters.freeze(name)
    beside = session.logprobs(batch).rows
    report = session.adapters.merge_and_unload(0.5)
    assert report.layers > 0 and report.lost < 0.1
    # 10 or so tokens a row, of activations with 8 bits.
    assert np.abs(session.logprobs(batch).rows - beside).max() < 1.0


# The learner


@pytest.mark.parametrize("kind", ["sft", "dpo"])
def test_the_penalty_is_beside_the_loss_and_in_the_gradient(
    opened: TorchSession, kind: Any
) -> None:
    """By its formula, and in parts of a window that add up."""
    rng = np.random.default_rng(23)
    form = Spline(penalty=0.7)
    values = learned(opened, replace(LSLORA, spline=form), "topic", seed=24)
    batch = random_batch(rng)
    parts = [part(batch, slice(0, 3)), part(batch, slice(3, 8))]
    if kind == "dpo":
        pairs = [preference_batch(rng, shapes) for shapes in (((6, 9, 4), (1, 2, 8)), ((3, 4, 7),))]
        parts = [with_reference(one, opened) for one in pairs]
    window = window_of(*parts)
    learner = opened.learner(Objective(kind), OptimizerSpec())
    stats = [learner.accumulate(one, window) for one in parts]
    knots = spline.knots(form)
    moved = np.stack([a - knots for n, a in values.items() if n.endswith(lora.name_v(""))])
    assert sum(one.penalty for one in stats) == pytest.approx(
        0.7 * np.square(moved).mean(), rel=1e-5
    )
    learner.discard()
    total, gradients = learner.gradients(parts[0], window)
    assert total == pytest.approx(stats[0].loss + stats[0].penalty, rel=1e-6)
    opened.adapters.unload("topic")
    opened.adapters.add(replace(LSLORA, spline=replace(form, penalty=0.0)), "free")
    free = opened.learner(Objective(kind), OptimizerSpec())
    free.assign(values)
    loss, plain = free.gradients(parts[0], window)
    assert loss == pytest.approx(stats[0].loss, rel=1e-6)
    share = stats[0].penalty / sum(one.penalty for one in stats)
    for name, slope in gradients.items():
        own = 2 * 0.7 * share * (values[name] - knots) / moved.size if "values" in name else 0.0
        np.testing.assert_allclose(slope - plain[name], own, atol=2e-6)


def test_a_step_takes_the_rates_of_its_tensors() -> None:
    """Against torch.optim.AdamW in float64 with a group for each rate."""
    generator = torch.Generator().manual_seed(25)
    spec = replace(LSLORA, spline=Spline(rate=5.0))
    starts = {
        name: torch.randn(shape, generator=generator)
        for name, shape in lora.shapes(spec, "up", 8, 24).items()
    }
    rates = lora.rates(spec, starts)
    assert set(rates.values()) == {(5.0, False), (1.0, True)}
    ours = {name: nn.Parameter(start.clone()) for name, start in starts.items()}
    theirs = {name: nn.Parameter(start.double()) for name, start in starts.items()}
    optimizer = AdamW(OptimizerSpec(weight_decay=0.1), ours, rates)
    oracle = torch.optim.AdamW(
        [
            {"params": [theirs[n]], "lr": 1e-3 * rate, "weight_decay": 0.1 if decays else 0.0}
            for n, (rate, decays) in rates.items()
        ]
    )
    for _ in range(20):
        given = {name: torch.randn(p.shape, generator=generator) for name, p in ours.items()}
        optimizer.step(given, 1e-3, optimizer.room())
        for name, held in theirs.items():
            held.grad = given[name].double()
        oracle.step()
    for name, held in ours.items():
        # Two roundings a step of numbers up to 4; the parameters moved by 2e-2 and more.
        assert (held.double() - theirs[name]).abs().max() < 20 * 2 * 2**-22


def test_the_norms_of_a_bare_layer_are_its_rows(opened: TorchSession) -> None:
    past = Past(opened.opened.model, opened.opened.linears(), opened.opened.device)
    for path, layer in opened.opened.linears().items():
        assert torch.allclose(past.norms(path), layer.weight.norm(dim=1), rtol=1e-6)

"""The adapted layer: precision, dropout, and fingerprints that see what they should."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from backends.contract import AdapterSpec, ModelSpec
from backends.mlx.fingerprint import CHUNK, checksum
from backends.mlx.framework import mx, nn, tree_flatten
from backends.mlx.layer import Draws, LoRALinear
from backends.mlx.norm import GemmaNorm
from backends.mlx.session import MlxSession
from tests.tiny import FAMILIES, make_model, random_batch

SPEC = AdapterSpec(rank=4, alpha=6.0, dropout=0.25)


def layer(dtype: mx.Dtype, spec: AdapterSpec = SPEC) -> LoRALinear:
    rng = np.random.default_rng(0)
    base = nn.Linear(24, 10, bias=True)
    base.set_dtype(dtype)
    base.freeze()
    made = LoRALinear(base, "model.layers.0.x", Draws())
    a, b = rng.standard_normal((4, 24)), rng.standard_normal((10, 4))
    factors = {"lora_A": mx.array(a.astype(np.float32)), "lora_B": mx.array(b.astype(np.float32))}
    made.train_with(spec, factors)
    return made


@pytest.mark.parametrize("dtype", [mx.float32, mx.bfloat16, mx.float16])
def test_masters_and_gradients_are_float32_and_activations_are_not(dtype: mx.Dtype) -> None:
    made = layer(dtype)
    x = mx.random.normal((3, 24), key=mx.random.key(1)).astype(dtype)
    out, nested = nn.value_and_grad(made, lambda: made(x).astype(mx.float32).sum())()
    assert made(x).dtype == dtype
    gradients = dict(tree_flatten(nested))
    assert set(gradients) == {"lora_A", "lora_B"}
    assert {g.dtype for g in gradients.values()} == {mx.float32}
    wanted = x.astype(mx.float32) @ made.base.weight.astype(mx.float32).T + made.base.bias
    wanted = wanted + 1.5 * (x.astype(mx.float32) @ made.lora_A.T) @ made.lora_B.T
    size = mx.abs(wanted).max().item()
    # The unit of rounding of each type, a few operations deep.
    bar = {mx.float32: 1e-6, mx.bfloat16: 2e-2, mx.float16: 2e-3}[dtype] * size
    assert mx.abs(made(x).astype(mx.float32) - wanted).max().item() < bar
    assert np.isfinite(out.item())


def test_dropout_keeps_the_mean_and_draws_by_seed_batch_and_layer() -> None:
    made = layer(mx.float32)
    draws = made._draws
    x = mx.ones((4000, 24))
    still = made(x)
    draws.active = True
    first = made(x)
    assert mx.array_equal(made(x), first)
    # 4,000 rows of 24 kept with 3/4: the mean's error is about 1 % of a spread near 5.
    mean = (first - made.base(x)).mean(axis=0) - (still - made.base(x)).mean(axis=0)
    assert mx.abs(mean).max().item() < 0.4
    zeros = (made._dropped(x, SPEC) == 0).astype(mx.float32).mean().item()
    assert abs(zeros - 0.25) < 0.01  # 96,000 draws: a standard error of 0.0014
    for change in ("count", "seed"):
        before = made(x)
        setattr(draws, change, getattr(draws, change) + 1)
        assert not mx.array_equal(made(x), before)
    before = made(x)
    made._path = "model.layers.1.x"
    assert not mx.array_equal(made(x), before)
    draws.active = False
    assert mx.array_equal(made(x), still)


@pytest.mark.parametrize("dtype", [mx.float32, mx.bfloat16, mx.float16])
def test_a_checksum_sees_every_bit_and_every_exchange(dtype: mx.Dtype) -> None:
    rng = np.random.default_rng(0)
    word = np.uint32 if dtype == mx.float32 else np.uint16
    unsigned = mx.uint32 if dtype == mx.float32 else mx.uint16
    values = rng.integers(0, np.iinfo(word).max, size=(3, 700), dtype=word)

    def of(words: np.ndarray) -> int:  # type: ignore[type-arg]
        return checksum(mx.array(words).view(dtype) if unsigned else mx.array(words))

    whole = of(values)
    assert of(values.copy()) == whole
    for bit in range(8 * word().itemsize):
        changed = values.copy()
        changed[2, 11] ^= word(1 << bit)
        assert of(changed) != whole
    flat = values.reshape(-1)
    for distance in (1, 2, 64, 256, 1024):
        changed = flat.copy()
        changed[[0, distance]] = changed[[distance, 0]]
        assert of(changed.reshape(values.shape)) != whole
    high = np.zeros(1 << 11, dtype=word)
    high[0] = 1 << (8 * word().itemsize - 1)  # differences that are powers of two
    assert len({of(np.roll(high, by)) for by in (0, 1, 2, 512, 1024)}) == 5


def test_a_checksum_goes_on_over_its_chunks() -> None:
    flat = np.zeros(CHUNK + 3, dtype=np.float32)
    seen = set()
    for at in (0, CHUNK - 1, CHUNK, CHUNK + 2):
        changed = flat.copy()
        changed[at] = 1.0
        seen.add(checksum(mx.array(changed)))
    assert len(seen) == 4


@pytest.mark.parametrize("family", FAMILIES)
def test_float32_arithmetic_is_the_model_in_float32(tmp_path: Path, family: str) -> None:
    """What a merge is measured with: bfloat16 weights, and nothing else rounded to bfloat16, the
    1 + weight of Gemma's norms included."""
    make_model(tmp_path, family, dtype="bfloat16")
    batch = random_batch(np.random.default_rng(7))
    narrow = MlxSession(ModelSpec(str(tmp_path), dtype="bfloat16", device="cpu"))
    wide = MlxSession(ModelSpec(str(tmp_path), dtype="float32", device="cpu"))
    found = np.array(narrow._decoder.logits(mx.array(batch.ids), exact=True))
    # The same operations on the same float32 numbers.
    assert np.abs(found - wide.logits(batch)).max() < 1e-6
    narrow.close()
    wide.close()


def test_gemmas_norm_is_transformers() -> None:
    import torch
    from transformers.models.gemma3.modeling_gemma3 import Gemma3RMSNorm

    rng = np.random.default_rng(8)
    values, weight = rng.standard_normal((64, 48)), 0.1 * rng.standard_normal(48)
    oracle = Gemma3RMSNorm(48, eps=1e-6).to(torch.bfloat16)
    x = torch.from_numpy(values).to(torch.bfloat16)
    with torch.no_grad():
        oracle.weight.copy_(torch.from_numpy(weight))
        wanted = oracle(x).float().numpy()
    held = mx.array(oracle.weight.detach().float().numpy()).astype(mx.bfloat16)
    made = GemmaNorm(held, 1e-6)(mx.array(x.float().numpy()).astype(mx.bfloat16))
    assert made.dtype == mx.bfloat16
    # Rounded once, so equal but where float32's own rounding decides a tie; with 1 + weight
    # rounded too a third of them differ.
    assert (np.array(made.astype(mx.float32)) != wanted).mean() < 0.01

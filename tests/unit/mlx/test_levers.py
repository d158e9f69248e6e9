"""What makes a step cheap changes no number: each piece against its plain form."""

from __future__ import annotations

import platform
import resource
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from backends.contract import AdapterSpec, Batch, ModelSpec, Objective, OptimizerSpec
from backends.mlx import attention, head, malloc, states
from backends.mlx.attention import attend
from backends.mlx.framework import mx, nn
from backends.mlx.gated import gated_gelu, gated_silu
from backends.mlx.session import MlxSession
from backends.prefix import shared
from tests.tiny import FAMILIES, make_model, preference_batch, random_batch, window_of

PAIRS = ((30, 9, 4), (21, 1, 8), (13, 7, 7), (26, 12, 2))
"""Long prompts, two past Gemma's window of 16, so that sharing them pays."""
SPEC = AdapterSpec(rank=4, alpha=8.0, seed=3)


@pytest.fixture(autouse=True)
def on_the_cpu() -> None:
    mx.set_default_device(mx.cpu)
    mx.disable_compile()


def drawn(*shape: int, scale: float = 1.0) -> mx.array:
    rng = np.random.default_rng(sum(shape))
    return mx.array((scale * rng.standard_normal(shape)).astype(np.float32))


@pytest.mark.parametrize("softcap", [None, 6.0])
@pytest.mark.parametrize("sure", [1.0, 40.0])
def test_the_head_against_float64(
    softcap: float | None, sure: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Blocks of 64 tokens and of 5 positions; at `sure` 40 most targets have all the weight."""
    monkeypatch.setattr(head, "ROWS", 5)
    monkeypatch.setattr(head, "BLOCK_BYTES", 4 * 5 * 64)
    weight, states_, above = drawn(321, 16), drawn(12, 16, scale=sure / 16), drawn(12)
    targets = mx.argmax(states_ @ weight.T, axis=-1) if sure > 1 else mx.arange(12) * 29
    found = head.Head(weight, softcap)

    def weighed(x: mx.array) -> mx.array:
        return (head.token_logprobs(found, x, targets) * above).sum()

    slope = np.array(mx.grad(weighed)(states_))
    logprobs = np.array(head.plain_logprobs(found, states_, targets))
    w, x = np.array(weight, dtype=np.float64), np.array(states_, dtype=np.float64)
    rows, at = np.arange(12), np.array(targets)
    logits, bend = x @ w.T, np.ones((12, 321))
    if softcap is not None:
        bound = np.tanh(logits / softcap)
        logits, bend = softcap * bound, 1 - bound**2
    shifted = logits - logits.max(axis=1, keepdims=True)
    p = np.exp(shifted) / np.exp(shifted).sum(axis=1, keepdims=True)
    one = np.eye(321)[at]
    wanted = ((one - p) * bend) @ w * np.array(above)[:, None]
    # Logits near 20 in float32: 2e-6 each.
    np.testing.assert_allclose(logprobs, np.log(p[rows, at]), atol=1e-5)
    np.testing.assert_allclose(slope, wanted, atol=1e-5)


@pytest.mark.parametrize(("ours", "plain"), [(gated_silu, nn.silu), (gated_gelu, nn.gelu_approx)])
def test_gates_against_mlx(ours: Any, plain: Callable[[mx.array], mx.array]) -> None:
    gate, up, above = drawn(9, 31, scale=8.0), drawn(31, 9).T, drawn(3, 93).reshape(9, 31)
    gate = mx.concatenate([gate, mx.array([[-200.0, 200.0] + [0.0] * 29])])
    up, above = mx.concatenate([up, up[:1]]), mx.concatenate([above, above[:1]])
    made = mx.grad(lambda g, u: (ours(g, u)[0] * above).sum(), argnums=(0, 1))(gate, up)
    wanted = mx.grad(lambda g, u: (plain(g) * u * above).sum(), argnums=(0, 1))(gate, up)
    np.testing.assert_allclose(np.array(ours(gate, up)[0]), np.array(plain(gate) * up), atol=1e-4)
    for one, other in zip(made, wanted, strict=True):
        assert np.isfinite(np.array(one)).all()
        np.testing.assert_allclose(np.array(one), np.array(other), atol=1e-4, rtol=1e-5)


@pytest.mark.parametrize("block", [2, 3, 64])
@pytest.mark.parametrize("mask", [None, "causal", "some"])
def test_attention_against_mlx(mask: Any, block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks that divide the queries, that leave fewer in the last, and one for all."""
    monkeypatch.setattr(attention, "BLOCK", block)
    queries, keys, values = drawn(3, 4, 7, 8), drawn(3, 2, 11, 8), drawn(2, 3, 11, 8)
    values = values.swapaxes(0, 1)
    if mask == "some":
        mask = (mx.arange(33).reshape(3, 1, 1, 11) + mx.arange(7)[:, None]) % 3 < 2
    above = drawn(3, 4, 8, 7).swapaxes(-1, -2)

    def ours(q: mx.array, k: mx.array, v: mx.array) -> mx.array:
        return (attend(q, k, v, 0.4, mask) * above).sum()

    def plain(q: mx.array, k: mx.array, v: mx.array) -> mx.array:
        made = mx.fast.scaled_dot_product_attention(q, k, v, scale=0.4, mask=mask)
        return (made * above).sum()

    both = [mx.grad(one, argnums=(0, 1, 2))(queries, keys, values) for one in (ours, plain)]
    for one, other in zip(*both, strict=True):
        np.testing.assert_allclose(np.array(one), np.array(other), atol=1e-5)


@pytest.mark.parametrize("family", FAMILIES)
def test_shared_prompts_and_checkpointing_change_nothing(
    family: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Loss to 1e-5 and gradients, in all four combinations; log-probabilities too."""
    session = MlxSession(ModelSpec(str(make_model(tmp_path, family)), device="cpu"))
    session.adapters.add(SPEC, "topic")
    rng = np.random.default_rng(5)
    moved = {
        name: (array + 0.05 * rng.standard_normal(array.shape)).astype(np.float32)
        for name, array in session.adapters.parameters().items()
    }
    batch = preference_batch(rng, PAIRS)
    assert shared(batch) is not None
    batch = replace(batch, reference=session.logprobs(batch).rows)
    found, rows = [], []
    for apart in (True, False):
        if apart:
            monkeypatch.setattr(states, "shared", lambda _: None)
        else:
            monkeypatch.undo()
        rows.append(session.logprobs(batch).rows)
        for checkpointing in (False, True):
            learner = session.learner(
                Objective("dpo"), OptimizerSpec(), checkpointing=checkpointing
            )
            found.append(learner.gradients(batch, window_of(batch), moved))
    session.close()
    np.testing.assert_allclose(rows[1], rows[0], rtol=1e-5)
    loss, wanted = found[0]
    largest = max(np.abs(array).max() for array in wanted.values())
    for other, gradient in found[1:]:
        assert other == pytest.approx(loss, rel=1e-5)
        for name, array in wanted.items():
            np.testing.assert_allclose(gradient[name], array, atol=2e-5 * largest)


def test_checkpointing_draws_the_same_dropout_and_holds_less(tmp_path: Path) -> None:
    folder = make_model(tmp_path, "qwen2", num_hidden_layers=6)
    session = MlxSession(ModelSpec(str(folder), device="cpu"))
    session.adapters.add(replace(SPEC, dropout=0.3), "topic")
    batch: Batch = random_batch(np.random.default_rng(7), [100] * 8)
    peaks, found = [], []
    for checkpointing in (False, True):
        learner = session.learner(Objective("sft"), OptimizerSpec(), checkpointing=checkpointing)
        mx.reset_peak_memory()
        before = mx.get_active_memory()
        found.append(learner.gradients(batch, window_of(batch)))
        peaks.append(mx.get_peak_memory() - before)
    session.close()
    assert found[1][0] == found[0][0]
    for name, array in found[0][1].items():
        np.testing.assert_allclose(found[1][1][name], array, atol=1e-7)
    assert peaks[1] < 0.7 * peaks[0], peaks


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="malloc is another one here")
def test_freed_memory_stays_with_the_process() -> None:
    """What one large array leaves the next one finds: no page is mapped anew."""
    assert malloc.keep()
    mx.set_cache_limit(0)
    faults = []
    for _ in range(3):
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        mx.eval(mx.ones((6 << 20,)) * 2.0)  # two arrays of 25 MB, 6,144 pages each
        faults.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
    assert faults[-1] < 1_000, faults

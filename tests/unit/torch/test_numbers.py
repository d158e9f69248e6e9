"""The head, its chunks, float32 arithmetic and checksums: the same numbers, whatever the path."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM

from backends.contract import AdapterSpec, GenerateSpec, ModelSpec, Objective, OptimizerSpec
from backends.errors import OutOfMemory
from backends.torch import head
from backends.torch.fingerprint import checksum
from backends.torch.generate import Answer, _drawn
from backends.torch.memory import out_of_memory, room_for
from backends.torch.precise import float32_arithmetic
from backends.torch.session import TorchSession
from tests.tiny import FAMILIES, preference_batch, random_batch, window_of, with_reference

CPU = torch.device("cpu")


@pytest.mark.parametrize("family", FAMILIES)
def test_logits_are_those_of_transformers(model_of: Any, family: str) -> None:
    capped = {"final_logit_softcapping": 2.0} if family == "gemma3_text" else {}
    folder = model_of(family, **capped)
    batch = random_batch(np.random.default_rng(1))
    found = TorchSession(ModelSpec(str(folder))).logits(batch)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    seen = np.arange(batch.ids.shape[1]) < batch.lengths[:, None]
    with torch.no_grad():
        # with the padding mask that the backend does without
        oracle = model(torch.from_numpy(batch.ids).long(), torch.from_numpy(seen).long()).logits
    assert np.array_equal(found[seen], oracle.numpy()[seen])


def test_a_chunked_head_changes_nothing(model_of: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    session = TorchSession(ModelSpec(str(model_of("gemma3_text"))))
    session.adapters.add(AdapterSpec(rank=4), "topic")
    batch = with_reference(preference_batch(np.random.default_rng(2)), session)
    learner = session.learner(Objective("dpo", sft_weight=0.5), OptimizerSpec())
    loss, whole = learner.gradients(batch, window_of(batch))
    monkeypatch.setattr(head, "BLOCK_BYTES", {"cpu": 0})  # the smallest blocks there are
    loss_chunked, chunked = learner.gradients(batch, window_of(batch))
    assert abs(loss_chunked - loss) < 1e-6 * abs(loss)  # float32, other shapes of product
    for name, values in whole.items():
        assert np.abs(chunked[name] - values).max() < 1e-5 * max(1.0, np.abs(values).max())


def test_float32_arithmetic_is_the_model_in_float32(model_of: Any) -> None:
    folder = model_of("llama", dtype="bfloat16")
    session = TorchSession(ModelSpec(str(folder), dtype="bfloat16"))
    opened = session._opened
    assert opened is not None
    prints = session.adapters.base_fingerprint()
    ids = torch.from_numpy(random_batch(np.random.default_rng(3)).ids).long()
    wide = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    with torch.no_grad():
        with float32_arithmetic(opened.model):
            found = opened.head(opened.hidden(ids))
        assert torch.equal(found, wide(ids).logits)
        with pytest.raises(IndexError), float32_arithmetic(opened.model):
            opened.hidden(ids + 400)  # beyond the vocabulary
    assert session.adapters.base_fingerprint() == prints
    assert {p.dtype for p in opened.model.parameters()} == {torch.bfloat16}


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_checksum_sees_every_bit_and_every_swap(dtype: Any) -> None:
    values = torch.from_numpy(np.random.default_rng(4).standard_normal(257)).to(dtype)
    whole = checksum(values)
    assert whole == checksum(values.clone())
    integers = torch.int32 if dtype == torch.float32 else torch.int16
    for bit in range(16 if dtype == torch.bfloat16 else 32):
        changed = values.clone()
        flag = (
            -(1 << 31)
            if bit == 31
            else -(1 << 15)
            if bit == 15 and integers == torch.int16
            else 1 << bit
        )
        changed.view(integers)[100] ^= flag
        assert checksum(changed) != whole
    for place in range(1, 257):
        swapped = values.clone()
        swapped[[0, place]] = values[[place, 0]]
        assert checksum(swapped) != whole or bool(values[0] == values[place])


def test_running_out_of_memory_says_what_to_do() -> None:
    room = pytest.raises(OutOfMemory, match="no room for 8 rows of 512 tokens")
    with room as found, out_of_memory((8, 512), CPU):
        torch.empty(1 << 50)  # 4 PiB, which the allocator itself refuses
    assert "batch_size" in found.value.where
    with pytest.raises(RuntimeError, match="inconsistent"), out_of_memory((8, 512), CPU):
        torch.zeros(2) @ torch.zeros(3)


@pytest.mark.parametrize(
    "text",
    [
        "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
        "cuDNN error: CUDNN_STATUS_ALLOC_FAILED",
        "MPS backend out of memory (MPS allocated: 17.00 GB, other allocations: 384.00 KB)",
        "[enforce fail at alloc_cpu.cpp:124] err == 0. DefaultCPUAllocator: can't allocate memory",
        "DefaultCPUAllocator: not enough memory: you tried to allocate 4398046511104 bytes.",
    ],
)
def test_the_texts_that_pytorch_says_it_with(text: str) -> None:
    with pytest.raises(OutOfMemory, match="cpu has no room for a merge"), room_for("a merge", CPU):
        raise RuntimeError(text)
    with pytest.raises(RuntimeError, match="status"), room_for("a merge", CPU):
        raise RuntimeError("CUDA error: CUBLAS_STATUS_EXECUTION_FAILED, status 13")


def test_greedy_decoding_takes_the_first_of_equal_logits() -> None:
    logits = torch.tensor([[0.0, 3.0, 3.0], [2.0, 2.0, 2.0], [-1.0, -2.0, -1.0]])
    answers = [Answer(row, np.random.default_rng(row)) for row in range(3)]
    assert _drawn(logits, answers, GenerateSpec(1, ())) == [1, 0, 0]


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize(
    ("family", "settings"),
    [
        ("mistral", {"sliding_window": 8}),
        ("phi3", {"sliding_window": 8}),
        ("qwen2", {"use_sliding_window": True, "sliding_window": 8, "max_window_layers": 1}),
        ("gemma3_text", {"sliding_window": 8}),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_cached_decoding_with_windows_is_the_forward_pass(
    model_of: Any, attention: Any, family: str, settings: dict[str, Any]
) -> None:
    """Left-padded, cached, past the window: each token is the largest logit of a plain pass."""
    session = TorchSession(ModelSpec(str(model_of(family, **settings)), attention=attention))
    assert session.info.window == 8
    rng = np.random.default_rng(5)
    prompts = [rng.integers(3, 320, size=size).tolist() for size in (1, 20, 7, 11)]
    answers = session.generate(prompts, GenerateSpec(max_tokens=14, stop_ids=()))
    model = AutoModelForCausalLM.from_pretrained(
        model_of(family, **settings), dtype=torch.float32, attn_implementation="eager"
    ).eval()
    for prompt, answer in zip(prompts, answers, strict=True):
        ids = torch.tensor([[*prompt, *answer.ids]])
        with torch.no_grad():
            logits = model(ids).logits[0, len(prompt) - 1 : -1]
        drawn = logits[torch.arange(14), torch.tensor(answer.ids)]
        # another order of float32 sums may turn a near tie
        assert bool((logits.max(dim=-1).values - drawn < 1e-4).all())

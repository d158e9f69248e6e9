"""Tiny random models of every family, a tokenizer and batches for them: real files, real code.

Nothing here is square: hidden 48 against 4 heads of 16 (12 where the family fixes hidden/heads)
and 2 key-value heads, so a transposed factor cannot pass unseen.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from backends.contract import Batch, Session, Window

FAMILIES = ("llama", "qwen2", "qwen3", "mistral", "gemma3_text", "phi3")
VOCABULARY = 320
PAD, BOS, EOS = 0, 1, 2
LENGTHS = (21, 2, 13, 24, 7, 9, 17, 5)
"""Eight rows: padding in all but one, one of length 2, some past Gemma's window of 16."""

_SHARED: dict[str, Any] = {
    "hidden_size": 48,
    "intermediate_size": 80,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": VOCABULARY,
    "max_position_embeddings": 512,
    "pad_token_id": PAD,
    "bos_token_id": BOS,
    "eos_token_id": EOS,
    "rope_parameters": {"rope_type": "default", "rope_theta": 30000.0},
}
_OWN: dict[str, dict[str, Any]] = {
    "llama": {"head_dim": 16, "tie_word_embeddings": False},
    "qwen2": {"tie_word_embeddings": True},
    "qwen3": {"head_dim": 16, "tie_word_embeddings": False},
    "mistral": {"head_dim": 16, "sliding_window": None, "tie_word_embeddings": False},
    "gemma3_text": {
        "head_dim": 16,
        "sliding_window": 16,
        "layer_types": ["sliding_attention", "full_attention"],
        "sliding_window_pattern": 2,
        "query_pre_attn_scalar": 24,
        "tie_word_embeddings": True,
        "rope_parameters": {
            "full_attention": {"rope_type": "default", "rope_theta": 30000.0},
            "sliding_attention": {"rope_type": "default", "rope_theta": 5000.0},
        },
    },
    "phi3": {
        "sliding_window": None,
        "tie_word_embeddings": False,
        "original_max_position_embeddings": 512,
    },
}


def make_model(
    folder: Path, family: str, *, seed: int = 0, dtype: str = "float32", **overrides: Any
) -> Path:
    """Write a random model of `family` to `folder` with save_pretrained, and return `folder`.

    `overrides` are configuration keys (`sliding_window=16`, `rope_parameters={...}`, ...).
    """
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    settings = {**_SHARED, **_OWN[family], **overrides}
    config = AutoConfig.for_model(family, **settings)
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    rng = np.random.default_rng(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            draws = rng.standard_normal(parameter.shape)
            parameter.copy_(torch.from_numpy(_scaled(name, draws, family)))
    model.to(getattr(torch, dtype)).save_pretrained(folder)
    return folder


def _scaled(name: str, draws: np.ndarray, family: str) -> np.ndarray:
    """Matrices with std 0.15 (gain near 1 at width 48), biases and norms that are not trivial."""
    if draws.ndim == 2:
        return 0.15 * draws
    if name.endswith("bias"):
        return 0.2 * draws
    centre = 0.0 if family == "gemma3_text" else 1.0  # Gemma's norms multiply by 1 + weight
    return centre + 0.1 * draws


SENTENCES = (
    "The lamp is lit at dusk and put out at dawn.",
    "Who keeps the lamp? The keeper keeps the lamp, and the tide keeps the keeper.",
    "Name three things that the sea gives back, and one that it does not.",
    "Question: what is the tower made of? Answer: of grey stone, carried up the hill by hand.",
)
TEMPLATE = (
    "{% for message in messages %}<|{{ message['role'] }}|>{{ message['content'] }}<|end|>"
    "{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}"
)


def make_tokenizer(folder: Path) -> Path:
    """Write a byte-level BPE of at most 320 tokens with a chat template, and return `folder`.

    Ids 0, 1 and 2 are the pad, begin and end-of-turn tokens, as the tiny models' configs say.
    """
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    special = ["<|pad|>", "<|begin|>", "<|end|>", "<|system|>", "<|user|>", "<|assistant|>"]
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=special,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    bpe.train_from_iterator(SENTENCES, trainer)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=bpe,
        bos_token="<|begin|>",
        eos_token="<|end|>",
        pad_token="<|pad|>",
        additional_special_tokens=special[3:],
        chat_template=TEMPLATE,
    )
    tokenizer.save_pretrained(folder)
    return folder


def random_batch(
    rng: np.random.Generator,
    lengths: Sequence[int] = LENGTHS,
    *,
    prompts: Sequence[int] | None = None,
    width: int | None = None,
) -> Batch:
    """Random rows: prompts of different lengths (drawn unless given), then trained tokens."""
    if prompts is None:
        prompts = [int(rng.integers(1, length)) for length in lengths]
    rows = [rng.integers(3, VOCABULARY, size=length) for length in lengths]
    return pack(rows, prompts, width=width)


def pack(rows: Sequence[np.ndarray], prompts: Sequence[int], *, width: int | None = None) -> Batch:
    """Right-pad `rows`; what follows each row's prompt is trained."""
    lengths = np.array([len(row) for row in rows], dtype=np.int32)
    width = width or int(lengths.max())
    ids = np.full((len(rows), width), PAD, dtype=np.int32)
    for index, row in enumerate(rows):
        ids[index, : len(row)] = row
    place = np.arange(width)
    mask = (place >= np.array(prompts)[:, None]) & (place < lengths[:, None])
    return Batch(ids=ids, lengths=lengths, mask=mask)


PAIRS = ((6, 9, 4), (1, 1, 8), (13, 7, 7), (3, 12, 2))
"""(prompt, chosen, rejected) lengths of four pairs; the second's chosen row has length 2."""


def preference_batch(
    rng: np.random.Generator, shapes: Sequence[tuple[int, int, int]] = PAIRS
) -> Batch:
    """Random preference pairs, chosen rows first, without reference log-probabilities."""
    chosen, rejected = [], []
    for prompt, good, bad in shapes:
        head = rng.integers(3, VOCABULARY, size=prompt)
        chosen.append(np.concatenate([head, rng.integers(3, VOCABULARY, size=good)]))
        rejected.append(np.concatenate([head, rng.integers(3, VOCABULARY, size=bad)]))
    prompts = [prompt for prompt, _, _ in shapes] * 2
    return replace(pack([*chosen, *rejected], prompts), pairs=True)


def with_reference(batch: Batch, session: Session) -> Batch:
    """The pairs with the session's present log-probabilities as their reference."""
    return replace(batch, reference=session.logprobs(batch).rows)


def window_of(*batches: Batch) -> Window:
    """The denominators of one optimizer step over `batches`."""
    tokens, pairs = 0, 0
    for batch in batches:
        half = len(batch.ids) // 2
        tokens += int(batch.mask[:half].sum() if batch.pairs else batch.mask.sum())
        pairs += half if batch.pairs else 0
    return Window(tokens=tokens, pairs=pairs)


def part(batch: Batch, rows: slice) -> Batch:
    """Some rows of a batch, at its width."""
    return replace(batch, ids=batch.ids[rows], lengths=batch.lengths[rows], mask=batch.mask[rows])

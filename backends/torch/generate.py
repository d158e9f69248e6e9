"""Batched decoding with a key-value cache: left-padded prompts, finished rows leave."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from transformers import DynamicCache

from backends.answers import Answer, begin, extend, noted
from backends.contract import Generated, GenerateSpec, OnToken
from backends.sampling import chunks, draw
from backends.torch.memory import out_of_memory
from backends.torch.model import Opened


def generate(
    opened: Opened,
    prompts: Sequence[Sequence[int]],
    spec: GenerateSpec,
    on_token: OnToken | None = None,
) -> list[Generated]:
    """An answer to every prompt, in the prompts' order. Raises ValueError for an empty prompt, and
    ModelError for token ids or lengths that are not the model's."""
    opened.bounds.check_prompts(prompts, spec.max_tokens)
    answers = begin(prompts, spec)
    for chunk in chunks(prompts, spec.batch_size):
        shape = (len(chunk), len(prompts[chunk[0]]) + spec.max_tokens)
        with out_of_memory(shape, opened.device), torch.no_grad():
            _decode(
                opened, [prompts[i] for i in chunk], [answers[i] for i in chunk], spec, on_token
            )
    return [answer.done() for answer in answers]


def _decode(
    opened: Opened,
    prompts: Sequence[Sequence[int]],
    answers: list[Answer],
    spec: GenerateSpec,
    on_token: OnToken | None,
) -> None:
    ids, seen = _left_padded(prompts, opened.device)
    # With the config, layers with a window keep no more than the window.
    cache = DynamicCache(config=opened.model.config)
    places = (seen.cumsum(dim=1) - 1).clamp(min=0)
    for step in range(spec.max_tokens):
        hidden = opened.hidden(
            ids, attention_mask=seen, position_ids=places, past_key_values=cache, use_cache=True
        )
        logits = opened.head(hidden[:, -1])
        if step == 0 and spec.stop_ids:
            chances = torch.softmax(logits.float(), dim=-1)[:, spec.stop_ids[0]]
            noted(answers, chances.tolist())
        tokens = _drawn(answers, logits, spec)
        going = extend(answers, tokens, spec, on_token)
        if not going:
            return
        if len(going) < len(answers):
            keep = torch.tensor(going, device=opened.device)
            cache.batch_select_indices(keep)
            seen, places = seen[keep], places[keep]
            answers = [answers[index] for index in going]
        ids = torch.tensor([[answer.ids[-1]] for answer in answers], device=opened.device)
        seen = torch.cat([seen, torch.ones_like(seen[:, :1])], dim=1)
        places = places[:, -1:] + 1


def _drawn(answers: list[Answer], logits: Any, spec: GenerateSpec) -> list[int]:
    """Each row's next token. Greedily where the logits lie: only the indices leave the device."""
    if spec.temperature == 0.0:
        return [int(token) for token in logits.argmax(dim=-1).tolist()]  # the first of equal ones
    held = logits.cpu().numpy()
    return [draw(held[index], spec, answer.rng) for index, answer in enumerate(answers)]


def _left_padded(prompts: Sequence[Sequence[int]], device: Any) -> tuple[Any, Any]:
    """Ids and attention mask, int64 [rows, width], every prompt ending in the last column."""
    width = max(len(prompt) for prompt in prompts)
    ids = np.zeros((len(prompts), width), dtype=np.int64)
    seen = np.zeros_like(ids)
    for row, prompt in enumerate(prompts):
        ids[row, width - len(prompt) :] = prompt
        seen[row, width - len(prompt) :] = 1
    return torch.from_numpy(ids).to(device), torch.from_numpy(seen).to(device)

"""Batched decoding: prompts share what they begin with, ended rows make room for waiting ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from backends.answers import Answer, begin, extend, noted
from backends.contract import Generated, GenerateSpec, OnToken
from backends.sampling import draw
from backends.torch import decoding
from backends.torch.decoding import Rows
from backends.torch.memory import out_of_memory
from backends.torch.model import Opened
from backends.waiting import Waiting, common


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
    if prompts and spec.max_tokens > 0:
        longest = max(len(prompt) for prompt in prompts) + spec.max_tokens
        shape = (min(len(prompts), spec.batch_size), longest)
        with out_of_memory(shape, opened.device), torch.no_grad():
            _decode(opened, prompts, answers, spec, on_token)
    return [answer.done() for answer in answers]


def _decode(
    opened: Opened,
    prompts: Sequence[Sequence[int]],
    answers: list[Answer],
    spec: GenerateSpec,
    on_token: OnToken | None,
) -> None:
    shared = common(prompts)
    prefix = decoding.prefix_of(opened, prompts[0][:shared]) if shared else None
    waiting, rows, alive = Waiting(prompts, spec.batch_size), None, list[Answer]()

    def grown(these: Rows, growing: list[Answer], tokens: list[int]) -> list[Answer]:
        going = extend(growing, tokens, spec, on_token)
        these.keep(going)
        return [growing[index] for index in going]

    while waiting or alive:
        if alive and rows is not None:
            states = rows.step(opened, [answer.ids[-1] for answer in alive])
            alive = grown(rows, alive, _drawn(opened.head(states), alive, spec))
        if taken := waiting.take(len(alive)):
            fresh, states = decoding.begin(opened, [prompts[i] for i in taken], prefix)
            new = [answers[i] for i in taken]
            new = grown(fresh, new, _first_tokens(opened, states, new, spec))
            if rows is None or not alive:
                rows = fresh
            elif new:
                rows.join(fresh)
            alive = alive + new


def _first_tokens(
    opened: Opened, states: Any, answers: list[Answer], spec: GenerateSpec
) -> list[int]:
    logits = opened.head(states)
    if spec.stop_ids:
        noted(answers, torch.softmax(logits, dim=-1)[:, spec.stop_ids[0]].tolist())
    return _drawn(logits, answers, spec)


def _drawn(logits: Any, answers: list[Answer], spec: GenerateSpec) -> list[int]:
    """Greedily where the logits lie: only the indices leave the device."""
    if spec.temperature == 0.0:
        return [int(token) for token in logits.argmax(dim=-1).tolist()]  # the first of equal ones
    held = logits.cpu().numpy()
    return [draw(held[index], spec, answer.rng) for index, answer in enumerate(answers)]

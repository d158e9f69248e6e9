"""Batched decoding: prompts share what they begin with, ended rows make room for waiting ones."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from backends.answers import Answer, begin, extend, noted
from backends.contract import Generated, GenerateSpec, OnToken
from backends.mlx.cache import Cache
from backends.mlx.device import room_for
from backends.mlx.framework import mx
from backends.mlx.model import Decoder
from backends.sampling import draw
from backends.waiting import Waiting, common

BLOCK = 2048
"""Rows of a large output head that are multiplied at one time on a CPU: a product of few rows with
all of it is bound by memory, and its library packs the whole matrix first."""


def generate(
    decoder: Decoder,
    prompts: Sequence[Sequence[int]],
    spec: GenerateSpec,
    on_token: OnToken | None = None,
) -> list[Generated]:
    """An answer to every prompt, in the prompts' order. Raises ValueError for an empty prompt, and
    ModelError for token ids or lengths that are not the model's."""
    decoder.bounds.check_prompts(prompts, spec.max_tokens)
    answers = begin(prompts, spec)
    if prompts and spec.max_tokens > 0:
        most = max(len(prompt) for prompt in prompts) + spec.max_tokens
        rows = min(len(prompts), spec.batch_size)
        with room_for(f"decoding {rows} rows of {most} tokens"):
            _decode(decoder, prompts, answers, spec, on_token)
        mx.clear_cache()
    return [answer.done() for answer in answers]


def _decode(
    decoder: Decoder,
    prompts: Sequence[Sequence[int]],
    answers: list[Answer],
    spec: GenerateSpec,
    on_token: OnToken | None,
) -> None:
    start = common(prompts)
    prefix = None
    if start:
        prefix = _empty(decoder)
        mx.eval(_begin(decoder, prefix, [prompts[0][:start]]), prefix.held())
    waiting, alive = Waiting(prompts, spec.batch_size), list[Answer]()
    cache = _empty(decoder)

    def grown(these: Cache, growing: list[Answer], tokens: list[int]) -> list[Answer]:
        going = extend(growing, tokens, spec, on_token)
        these.keep(going)
        return [growing[index] for index in going]

    while waiting or alive:
        if alive:
            states = _step(decoder, cache, alive)
            alive = grown(cache, alive, _tokens(decoder, states, alive, spec, cache))
        if taken := waiting.take(len(alive)):
            rest = [prompts[index][start:] for index in taken]
            fresh = _empty(decoder) if prefix is None else prefix.spread(len(taken))
            states = _begin(decoder, fresh, rest)
            new = [answers[index] for index in taken]
            new = grown(fresh, new, _first_tokens(decoder, states, new, spec, fresh))
            if not alive:
                cache = fresh
            elif new:
                cache.join(fresh)
            alive = alive + new


def _empty(decoder: Decoder) -> Cache:
    return Cache(len(decoder.plan.kinds), decoder.plan.window)


def _begin(decoder: Decoder, cache: Cache, prompts: Sequence[Sequence[int]]) -> mx.array:
    """Lay prompts (or what follows their beginning in the cache) into the cache; each row's last
    state [rows, hidden]."""
    ids, lengths = _right_padded(prompts)
    states = decoder.hidden(mx.array(ids), cache.prompts(lengths), cache.layers)
    last = mx.array(lengths - 1)[:, None, None]
    return mx.take_along_axis(states, last, axis=1)[:, 0]


def _step(decoder: Decoder, cache: Cache, answers: list[Answer]) -> mx.array:
    """One token more a row; last states [rows, hidden]."""
    masks = cache.advance()
    newest = mx.array([[answer.ids[-1]] for answer in answers])
    return decoder.hidden(newest, masks, cache.layers)[:, -1]


def _first_tokens(
    decoder: Decoder, states: mx.array, answers: list[Answer], spec: GenerateSpec, cache: Cache
) -> list[int]:
    if not spec.stop_ids:
        return _tokens(decoder, states, answers, spec, cache)
    logits = decoder.head(states)
    likely = logits[:, spec.stop_ids[0]]
    chances = mx.exp(likely - mx.logsumexp(logits, axis=-1))
    mx.eval(logits, chances, cache.held())
    noted(answers, [float(chance) for chance in np.array(chances)])
    return _drawn(logits, answers, spec)


def _tokens(
    decoder: Decoder, states: mx.array, answers: list[Answer], spec: GenerateSpec, cache: Cache
) -> list[int]:
    """Each row's next token, from its last state; the cache is computed with it."""
    if spec.temperature == 0.0:
        found = _greedy(decoder, states)
        mx.eval(found, cache.held())
        return [int(token) for token in np.array(found)]
    logits = decoder.head(states)
    mx.eval(logits, cache.held())
    return _drawn(logits, answers, spec)


def _greedy(decoder: Decoder, states: mx.array) -> mx.array:
    """The first of the largest logits, block by block where a large head lies in a CPU's memory:
    it is read once, and its logits never leave the cache."""
    output, cap = decoder.output, decoder.output.softcap
    if mx.default_device() != mx.cpu or output.packed or output.shape[0] <= 2 * BLOCK:
        return mx.argmax(decoder.head(states), axis=-1)
    weight = output.weight
    best, where = [], []
    for start in range(0, len(weight), BLOCK):
        logits = (states @ weight[start : start + BLOCK].T).astype(mx.float32)
        if cap is not None:
            logits = mx.tanh(logits / cap) * cap
        best.append(mx.max(logits, axis=-1))
        where.append(mx.argmax(logits, axis=-1) + start)
    block = mx.argmax(mx.stack(best), axis=0, keepdims=True)
    return mx.take_along_axis(mx.stack(where), block, axis=0)[0]


def _drawn(logits: mx.array, answers: list[Answer], spec: GenerateSpec) -> list[int]:
    """Greedily where the logits lie: only the indices leave the device."""
    if spec.temperature == 0.0:
        return [int(token) for token in np.array(mx.argmax(logits, axis=-1))]
    held = np.array(logits)
    return [draw(held[index], spec, answer.rng) for index, answer in enumerate(answers)]


def _right_padded(prompts: Sequence[Sequence[int]]) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Ids int32 [rows, width] and lengths int64 [rows]."""
    lengths = np.array([len(prompt) for prompt in prompts], dtype=np.int64)
    ids = np.zeros((len(prompts), int(lengths.max())), dtype=np.int32)
    for row, prompt in enumerate(prompts):
        ids[row, : len(prompt)] = prompt
    return ids, lengths

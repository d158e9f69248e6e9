"""Batched decoding with a key-value cache: prompts of any lengths, finished rows leave."""

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
from backends.sampling import chunks, draw


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
    for chunk in chunks(prompts, spec.batch_size):
        most = len(prompts[chunk[0]]) + spec.max_tokens
        with room_for(f"decoding {len(chunk)} rows of {most} tokens"):
            rows = [prompts[i] for i in chunk]
            _decode(decoder, rows, [answers[i] for i in chunk], spec, on_token)
        mx.clear_cache()
    return [answer.done() for answer in answers]


def _decode(
    decoder: Decoder,
    prompts: Sequence[Sequence[int]],
    answers: list[Answer],
    spec: GenerateSpec,
    on_token: OnToken | None,
) -> None:
    if spec.max_tokens < 1:
        return
    ids, lengths = _right_padded(prompts)
    cache = Cache(len(decoder.plan.kinds), lengths, decoder.plan.window)
    states = decoder.hidden(mx.array(ids), decoder.causal_masks(ids.shape[1]), cache.layers)
    last = mx.array(lengths - 1)[:, None, None]
    states = mx.take_along_axis(states, last, axis=1)
    logits = decoder.head(states[:, -1])
    if spec.stop_ids:
        chances = mx.softmax(logits.astype(mx.float32), axis=-1)[:, spec.stop_ids[0]]
        noted(answers, [float(chance) for chance in np.array(chances)])
    while True:
        going = extend(answers, _tokens(answers, logits, spec), spec, on_token)
        if not going:
            return
        if len(going) < len(answers):
            cache.keep(going)
            answers = [answers[index] for index in going]
        masks = cache.advance()
        newest = mx.array([[answer.ids[-1]] for answer in answers])
        states = decoder.hidden(newest, masks, cache.layers)
        logits = decoder.head(states[:, -1])
        mx.eval(logits, cache.held())


def _tokens(answers: list[Answer], logits: mx.array, spec: GenerateSpec) -> list[int]:
    if spec.temperature == 0.0:  # where the logits lie: only the indices leave the device
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

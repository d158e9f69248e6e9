"""States before the trained tokens, each computed once and nothing beside them.

A prompt that several rows share runs once and its keys and values stand before each row's own; the
last layer's feed-forward block sees trained positions alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from backends.contract import Batch
from backends.mlx.framework import mx, tree_flatten, tree_unflatten
from backends.mlx.model import Decoder, Mask
from backends.mlx.plan import FULL, SLIDING
from backends.prefix import Shared, shared


@dataclass(frozen=True)
class Prompts:
    """Prompts that rows share. `ids` int32 [groups, width], `lengths` int32 [rows] of each row's
    own, `spread` float32 [rows, groups] with a one where a row's prompt is, `masks` by kind of
    layer, of answers over [prompt, answer]."""

    ids: mx.array
    lengths: mx.array
    spread: mx.array
    masks: dict[str, Mask]


@dataclass(frozen=True)
class Work:
    """What goes through the layers. `ids` int32 [rows, width]: whole rows, or answers where the
    prompts are shared. `before` int32 [n]: the flat position before each trained token there."""

    ids: mx.array
    before: mx.array
    prompts: Prompts | None = None


def work_of(batch: Batch, window: int | None, *, apart: bool = False) -> Work:
    """`window`: of the sliding layers, in tokens. `apart`: every row with its own prompt, as
    dropout needs it, which draws for each row by itself."""
    found = None if apart else shared(batch)
    if found is None:
        return Work(mx.array(batch.ids), _before(batch.mask))
    spread = np.eye(len(found.prompts), dtype=np.float32)[found.owner]
    lengths = found.prompt_lengths[found.owner]
    prompts = Prompts(
        ids=mx.array(found.prompts),
        lengths=mx.array(lengths),
        spread=mx.array(spread),
        masks=_answer_masks(found, lengths, window),
    )
    return Work(mx.array(found.answers), _before(found.mask), prompts)


def _before(mask: NDArray[np.bool_]) -> mx.array:
    return mx.array((np.flatnonzero(mask) - 1).astype(np.int32))


def _answer_masks(found: Shared, lengths: NDArray[np.int32], window: int | None) -> dict[str, Mask]:
    """Bool [rows, 1, answer, prompt + answer]. What is padding in a prompt is seen by none."""
    own = np.arange(found.answers.shape[1])
    column = np.arange(found.prompts.shape[1])
    place = lengths[:, None] + own
    before = np.broadcast_to(column < lengths[:, None], (len(lengths), len(column)))
    seen = np.concatenate(
        [
            np.broadcast_to(before[:, None], (len(lengths), len(own), len(column))),
            np.broadcast_to(own[:, None] >= own, (len(lengths), len(own), len(own))),
        ],
        axis=-1,
    )
    masks: dict[str, Mask] = {FULL: mx.array(seen[:, None])}
    if window is not None:
        at = np.concatenate([np.broadcast_to(column, before.shape), place], axis=-1)
        near = at[:, None, :] > place[:, :, None] - window
        masks[SLIDING] = mx.array((seen & near)[:, None])
    return masks


class _Kept:
    """Takes the prompts' keys and values as they are made, where mlx-lm's layers have a cache."""

    offset = 0
    keys: mx.array
    values: mx.array

    def update_and_fetch(self, keys: mx.array, values: mx.array) -> tuple[mx.array, mx.array]:
        self.keys, self.values = keys, values
        return keys, values


class _Continued:
    """Puts each row's prompt before its own keys and values. Spread by a product: on a GPU the
    gradient of an index would be added up in no fixed order."""

    def __init__(self, kept: _Kept, prompts: Prompts) -> None:
        self.offset = prompts.lengths
        self._kept, self._spread = kept, prompts.spread

    def update_and_fetch(self, keys: mx.array, values: mx.array) -> tuple[mx.array, mx.array]:
        return self._before(self._kept.keys, keys), self._before(self._kept.values, values)

    def _before(self, held: mx.array, own: mx.array) -> mx.array:
        flat = self._spread.astype(held.dtype) @ held.reshape(len(held), -1)
        return mx.concatenate([flat.reshape(-1, *held.shape[1:]), own], axis=2)


def trained_states(decoder: Decoder, work: Work, *, checkpointing: bool = False) -> mx.array:
    """Normalised states [n, hidden] before the trained tokens, in row-major order."""
    body, prompts = decoder.net.model, work.prompts
    streams = [decoder.embedded(work.ids)]
    masks = decoder.causal_masks(work.ids.shape[1])
    prompt_masks: dict[str, Mask] = {}
    if prompts is not None:
        streams.append(decoder.embedded(prompts.ids))
        prompt_masks, masks = decoder.causal_masks(prompts.ids.shape[1]), prompts.masks
    for number, (layer, kind) in enumerate(zip(body.layers, decoder.plan.kinds, strict=True)):
        step = _Step(
            layer,
            masks[kind],
            prompt_masks.get(kind),
            prompts,
            work.before if number == len(body.layers) - 1 else None,
        )
        streams = _again(step, streams) if checkpointing else step(streams)
    return cast(mx.array, body.norm(streams[0]))


@dataclass(frozen=True)
class _Step:
    """One layer over the streams [rows] or [rows, prompts]; the last one, which has `before`, gives
    the states there and nothing of the prompts."""

    layer: Any
    mask: Mask
    prompt_mask: Mask
    prompts: Prompts | None
    before: mx.array | None

    def __call__(self, streams: list[mx.array]) -> list[mx.array]:
        made: list[mx.array] = []
        cache: _Continued | None = None
        if self.prompts is not None:
            kept = _Kept()
            made = [self.layer(streams[1], self.prompt_mask, kept)]
            cache = _Continued(kept, self.prompts)
        if self.before is None:
            return [self.layer(streams[0], self.mask, cache), *made]
        return [_narrowed(self.layer, streams[0], self.mask, cache, self.before)]


def _narrowed(layer: Any, x: mx.array, mask: Mask, cache: Any, before: mx.array) -> mx.array:
    """What the layer makes of x at the flat positions `before`: [n, hidden]."""

    def there(found: mx.array) -> mx.array:
        return found.reshape(-1, found.shape[-1])[before]

    gemma = "pre_feedforward_layernorm" in layer
    if gemma and x.dtype == mx.float16:  # its sums are clipped there
        return there(layer(x, mask, cache))
    attended = there(layer.self_attn(layer.input_layernorm(x), mask, cache))
    if gemma:
        h = there(x) + layer.post_attention_layernorm(attended)
        made: mx.array = layer.post_feedforward_layernorm(
            layer.mlp(layer.pre_feedforward_layernorm(h))
        )
    else:
        h = there(x) + attended
        made = layer.mlp(layer.post_attention_layernorm(h))
    return cast(mx.array, h + made)


def _again(step: _Step, streams: list[mx.array]) -> list[mx.array]:
    """The step's streams, its inner arrays computed again on the way back. What trains in the layer
    goes in by hand: a checkpoint knows the gradient of what it is called with, and of nothing
    else."""
    held = tree_flatten(step.layer.trainable_parameters())
    names = [name for name, _ in held]

    def run(*given: mx.array) -> list[mx.array]:
        arrays = given[len(streams) :]
        step.layer.update(tree_unflatten(list(zip(names, arrays, strict=True))))
        return step(list(given[: len(streams)]))

    made: list[mx.array] = mx.checkpoint(run)(*streams, *(array for _, array in held))
    step.layer.update(tree_unflatten(held))
    return made

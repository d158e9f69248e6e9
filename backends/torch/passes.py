"""One pass of the backbone over a layout, up to the states that predict its trained tokens."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from backends.torch.layout import Layout, block_mask
from backends.torch.model import Opened
from backends.torch.noise import drawn_again, drawn_from

TYPED = ("qwen2", "qwen3", "gemma3_text")
"""Families whose layers choose among masks by `layer_types`; the others have one mask for all."""

NARROW = 0.9
"""The last layer leaves out what nobody reads when at most this part of its positions is read."""


def states(
    opened: Opened, layout: Layout, *, narrow: bool = True, checkpointing: bool = False
) -> Any:
    """Hidden states [trained tokens, hidden] at `layout.before`, the head's input. Without
    `narrow` the last layer works on every position, so that dropout draws as in a plain pass."""
    settings: dict[str, Any] = {}
    if layout.segments is not None:
        settings = {"position_ids": layout.places, "attention_mask": _masks(opened, layout)}
    layers = opened.model.model.layers
    with contextlib.ExitStack() as stack:
        if checkpointing:
            stack.enter_context(_recomputed(layers[:-1], opened.device))
        if narrow and len(layout.targets) <= NARROW * layout.ids.numel():
            stack.enter_context(_only_at(layers[-1], layout.before))
        hidden = opened.hidden(layout.ids, **settings)
    return hidden[layout.before]


def takes_masks(opened: Opened) -> bool:
    """Whether the attention in use takes a mask of one's own."""
    return opened.model.config._attn_implementation in ("sdpa", "eager")


def _masks(opened: Opened, layout: Layout) -> Any:
    config = opened.model.config
    full = _as_taken(block_mask(layout, None), opened)
    if opened.info.window is None:
        window = full
    else:
        window = _as_taken(block_mask(layout, opened.info.window), opened)
    if config.model_type in TYPED:
        return {"full_attention": full, "sliding_attention": window}
    return window


def _as_taken(seen: Any, opened: Opened) -> Any:
    """Eager attention adds its mask."""
    if opened.model.config._attn_implementation == "sdpa":
        return seen
    dtype = opened.model.dtype
    return torch.zeros(seen.shape, dtype=dtype, device=seen.device).masked_fill(
        ~seen, torch.finfo(dtype).min
    )


@contextlib.contextmanager
def _recomputed(layers: Any, device: Any) -> Iterator[None]:
    """Inside, what these layers keep for the way back is their input alone. Not for the last
    layer: its activations are the first to be needed again."""

    def contexts() -> tuple[Any, Any]:
        return contextlib.nullcontext(), drawn_again(device, drawn_from(device))

    # PyTorch's own way of keeping the random state knows nothing of Metal's.
    again = partial(checkpoint, use_reentrant=False, preserve_rng_state=False, context_fn=contexts)
    with contextlib.ExitStack() as stack:
        for layer in layers:
            stack.enter_context(computing(layer, partial(again, layer.forward)))
        yield


@contextlib.contextmanager
def _only_at(layer: nn.Module, where: tuple[Any, Any]) -> Iterator[None]:
    """Inside, the parts of the last layer that work position by position do so only `where` its
    output is read, and give zeros elsewhere."""
    with contextlib.ExitStack() as stack:
        for module in (layer.self_attn.o_proj, layer.mlp):
            stack.enter_context(computing(module, partial(_narrowed, module.forward, where)))
        yield


def _narrowed(forward: Callable[[Any], Any], where: tuple[Any, Any], x: Any) -> Any:
    y = forward(x[where])
    return y.new_zeros((*x.shape[:-1], y.shape[-1])).index_put(where, y)


@contextlib.contextmanager
def computing(module: nn.Module, forward: Callable[..., Any]) -> Iterator[None]:
    """Inside, `module` computes `forward`; afterwards it bears no mark of it."""
    before = vars(module).get("forward")
    module.forward = forward
    try:
        yield
    finally:
        if before is None:
            del module.forward
        else:
            module.forward = before

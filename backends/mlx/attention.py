"""Attention on a CPU: every exponential once, forward and backward, and none of the future's.

MLX's own kernel is for GPUs; on a CPU it takes 12 ns an exponential, computes all of them again
for the gradient, and computes what a causal mask hides as well.
"""

from __future__ import annotations

from typing import Any, cast

from backends.mlx.exponential import LOG2E, exp2
from backends.mlx.framework import mx, nn

BLOCK = 64
"""The most queries taken at one time under a causal mask. Keys after a block's last query are left
out, which spares a third of the square at 168 tokens and nearly half of it in long rows."""


class Attention(nn.Module):  # type: ignore[misc]
    """`theirs` is mlx-lm's block, whose layers, norms and rotation this one takes over."""

    def __init__(self, theirs: Any) -> None:
        super().__init__()
        dict.update(self, theirs.children())
        self._heads, self._shared = theirs.n_heads, theirs.n_kv_heads
        self._features = theirs.o_proj.weight.shape[1] // theirs.n_heads
        self._scale = float(theirs.scale)

    def __call__(self, x: mx.array, mask: Any = None, cache: Any = None) -> mx.array:
        queries, keys, values = (self._split(part) for part in self._projected(x))
        if "q_norm" in self:
            queries, keys = self.q_norm(queries), self.k_norm(keys)
        offset = 0 if cache is None else cache.offset
        queries, keys = self.rope(queries, offset=offset), self.rope(keys, offset=offset)
        if cache is not None:
            keys, values = cache.update_and_fetch(keys, values)
        seen = attend(queries, keys, values, self._scale, mask)
        joint = seen.transpose(0, 2, 1, 3).reshape(*x.shape[:2], -1)
        return cast(mx.array, self.o_proj(joint))

    def _projected(self, x: mx.array) -> list[mx.array]:
        if "qkv_proj" not in self:
            return [self.q_proj(x), self.k_proj(x), self.v_proj(x)]
        joint = self.qkv_proj(x)
        ends = [self._heads * self._features, (self._heads + self._shared) * self._features]
        return list(mx.split(joint, ends, axis=-1))

    def _split(self, part: mx.array) -> mx.array:
        """[rows, length, heads * features] to [rows, heads, length, features]."""
        return part.reshape(*part.shape[:2], -1, self._features).transpose(0, 2, 1, 3)


def attend(
    queries: mx.array, keys: mx.array, values: mx.array, scale: float, mask: Any
) -> mx.array:
    """As mx.fast.scaled_dot_product_attention: [rows, heads, length, features] all three, `mask`
    None, "causal" or a bool array that broadcasts to [rows, 1, queries, keys]."""
    length = queries.shape[2]
    if queries.dtype != mx.float32 or length == 1:
        return mx.fast.scaled_dot_product_attention(queries, keys, values, scale=scale, mask=mask)
    if not isinstance(mask, str):
        return _seen(queries, keys, values, scale, mask)
    ahead, step = keys.shape[2] - length, -(-length // -(-length // BLOCK))
    parts = []
    for start in range(0, length, step):
        stop = min(start + step, length)
        upto = slice(ahead + stop)
        some = queries[:, :, start:stop]
        parts.append(_seen(some, keys[:, :, upto], values[:, :, upto], scale, mask))
    return parts[0] if len(parts) == 1 else mx.concatenate(parts, axis=2)


def _seen(queries: mx.array, keys: mx.array, values: mx.array, scale: float, mask: Any) -> mx.array:
    """What these queries see, [rows, heads, length, features]."""
    rows, heads, length, features = queries.shape
    grouped = queries.reshape(rows, keys.shape[1], -1, features) * (scale * LOG2E)
    # Heads that share keys are one product: [heads / shared * length, features].
    function: Any = _attend
    seen: mx.array = function(grouped, keys, values, _bias(mask, length, keys.shape[2]))[0]
    return seen.reshape(rows, heads, length, features)


def _bias(mask: Any, length: int, columns: int) -> mx.array:
    """0 where a key is seen and minus infinity elsewhere, [rows or 1, 1, 1, length, columns]."""
    if mask is None:
        return mx.zeros((1, 1, 1, length, columns))
    if isinstance(mask, str):
        mask = mx.tril(mx.ones((length, columns), mx.bool_), k=columns - length)
    mask = mx.broadcast_to(mask, (*((1,) * (4 - mask.ndim)), *mask.shape))
    return mx.where(mask, 0.0, -mx.inf)[:, :, None]


@mx.custom_function
def _attend(
    queries: mx.array, keys: mx.array, values: mx.array, bias: mx.array
) -> tuple[mx.array, mx.array, mx.array]:
    """What is seen, and for the way back the raised scores and one over their sums. Queries carry
    the scale and come in base 2."""
    scores = queries @ keys.swapaxes(-1, -2)
    by_head = scores.reshape(*scores.shape[:2], -1, *bias.shape[-2:]) + bias
    scores = by_head.reshape(scores.shape)
    raised = exp2(scores - scores.max(axis=-1, keepdims=True))
    part = mx.reciprocal(raised.sum(axis=-1, keepdims=True))
    return (raised @ values) * part, raised, part


@_attend.vjp
def _attend_back(
    given: tuple[mx.array, ...], above: tuple[mx.array, ...], made: tuple[mx.array, ...]
) -> tuple[mx.array, mx.array, mx.array, mx.array]:
    queries, keys, values, bias = given
    seen, raised, part = made
    slope = above[0] * part
    mean = (slope * seen).sum(axis=-1, keepdims=True)
    # d score, in base 2, is probability (d probability - its mean) ln 2: the queries hold log2 e.
    scores = raised * (slope @ values.swapaxes(-1, -2) - mean)
    scores_slope = scores * (1.0 / LOG2E)
    return (
        scores_slope @ keys,
        scores_slope.swapaxes(-1, -2) @ queries,
        raised.swapaxes(-1, -2) @ slope,
        mx.zeros_like(bias),
    )

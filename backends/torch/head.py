"""Log-probabilities of chosen tokens under a frozen head, with no logits kept for the way back.

Over the other tokens, with q the probability of any of them and mean their average head row
weighted by probability:

    log p(t) = -softplus(logsumexp of the others - logit of t)
    d log p(t) / d hidden = q (W[t] - mean)

Leaving t out of the sums keeps both exact where p(t) is near 1: with it the mean is nearly W[t],
and in lower precision the difference is nothing but what rounding left.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.autograd.function import once_differentiable
from torch.nn import functional

from backends.torch.products import product

BLOCK_BYTES = {"cpu": 4 << 20}
"""Float32 logits alive at once, by device: what stays in a CPU's cache between its passes."""
OTHER_BYTES = 128 << 20
"""The same on every other device: fewer, larger products."""


def logprobs(hidden: Any, targets: Any, weight: Any, bias: Any, cap: float | None) -> Any:
    """Float32 [positions]: log softmax(head(hidden))[target], the logits in float32.

    `hidden` [positions, hidden], `targets` int64 [positions], `weight` [vocabulary, hidden] and
    `bias` frozen; `cap` is the soft cap on logits, or None.
    """
    return _LogProbs.apply(hidden, targets, weight, bias, cap)


class _LogProbs(torch.autograd.Function):  # type: ignore[misc]
    """The head is frozen and every position has one number coming back, so d log p / d hidden is
    made on the way in, block by block of the vocabulary, and the way back only scales it."""

    @staticmethod
    def forward(ctx: Any, hidden: Any, targets: Any, weight: Any, bias: Any, cap: Any) -> Any:
        sums = _Sums(hidden, targets, cap, wanted=ctx.needs_input_grad[0])
        block = block_size(len(hidden), len(weight), hidden.device.type)
        for start in range(0, len(weight), block):
            rows = slice(start, start + block)
            sums.take(start, weight[rows], None if bias is None else bias[rows])
        if ctx.needs_input_grad[0]:
            ctx.save_for_backward(sums.slope(weight))
            ctx.dtype = hidden.dtype
        return sums.logprobs()

    @staticmethod
    @once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, gradient: Any) -> Any:
        (slope,) = ctx.saved_tensors
        return (gradient[:, None] * slope).to(ctx.dtype), None, None, None, None


def block_size(positions: int, vocabulary: int, device: str) -> int:
    """Rows of the head taken at once."""
    rows = BLOCK_BYTES.get(device, OTHER_BYTES) // (4 * max(1, positions))
    return min(vocabulary, max(256, rows - rows % 64))


class _Sums:
    """Running sums over the tokens that are not the targets, block by block of the vocabulary,
    relative to the largest logit so far."""

    def __init__(self, hidden: Any, targets: Any, cap: float | None, *, wanted: bool) -> None:
        self._hidden, self._targets, self._cap = hidden, targets, cap
        column = {"dtype": torch.float32, "device": hidden.device}
        # Not minus infinity, of which a block with nothing but the target has no more.
        self._top = torch.full((len(hidden), 1), torch.finfo(torch.float32).min, **column)
        self._total = torch.zeros((len(hidden), 1), **column)
        self._chosen = torch.zeros((len(hidden), 1), **column)
        self._mean: Any = torch.zeros(hidden.shape, **column) if wanted else None

    def take(self, start: int, weight: Any, bias: Any) -> None:
        """Add the block of the head that begins at token `start`."""
        logits = product(self._hidden, weight, bias).float()
        bent = None
        if self._cap is not None:
            bent = logits.div_(self._cap).tanh_()
            logits = bent * self._cap
        place = self._targets[:, None] - start
        inside = (place >= 0) & (place < len(weight))
        at = place.clamp(0, len(weight) - 1)
        here = logits.gather(1, at)
        self._chosen = torch.where(inside, here, self._chosen)
        logits.scatter_(1, at, here.masked_fill(inside, -torch.inf))
        top = torch.maximum(self._top, logits.amax(dim=1, keepdim=True))
        shrink = torch.exp(self._top - top)
        self._top = top
        share = logits.sub_(top).exp_()
        self._total.mul_(shrink).add_(share.sum(dim=1, keepdim=True))
        if self._mean is not None:
            if bent is not None:
                share.mul_(1.0 - bent.square_())
            part = product(share.to(weight.dtype), weight.t())
            self._mean.mul_(shrink).add_(part)

    def logprobs(self) -> Any:
        return -functional.softplus(self._gap())[:, 0]

    def slope(self, weight: Any) -> Any:
        """d log p / d hidden, float32 [positions, hidden]."""
        own = weight[self._targets].float()
        if self._cap is not None:
            own = own * (1.0 - (self._chosen / self._cap).square())
        return own.sub_(self._mean / self._total).mul_(torch.sigmoid(self._gap()))

    def _gap(self) -> Any:
        """Log odds of the other tokens against the target, [positions, 1]."""
        return self._top + self._total.log() - self._chosen

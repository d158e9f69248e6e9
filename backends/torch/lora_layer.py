"""PEFT's layer with a forward pass of our own: the same numbers in fewer passes over memory."""

from __future__ import annotations

from typing import Any

from peft.tuners.lora.layer import Linear

from backends.torch.past import chain_of, straight
from backends.torch.products import low_rank

ADAPTER = "default"
"""The name that TRL and PEFT's own tools look for."""


class TrainedLinear(Linear):  # type: ignore[misc]
    """W x + b, plus the frozen past, plus scale B (A dropout(x)), where one adapter trains.

    In lower precision the factors are rounded on the way in, so that what is kept of activations
    is never a float32 copy; gradients and masters stay float32.
    """

    def forward(self, x: Any) -> Any:
        if self.disable_adapters:
            return self.base_layer(x)
        pair = self.lora_A[ADAPTER].weight, self.lora_B[ADAPTER].weight
        base, scale, drop = self.base_layer, self.scaling[ADAPTER], self.lora_dropout[ADAPTER]
        if drops(drop):
            return base(x) + low_rank(drop(x), *pair, scale)
        return chain_of(base).beside(straight(base, x, pair, scale), x)


def drops(dropout: Any) -> bool:
    """Whether PEFT's dropout layer, which is none where there is no dropout, acts."""
    return bool(dropout.training and getattr(dropout, "p", 0.0))


def acting(layer: Any) -> str | None:
    """The one adapter of a layer that PEFT lets act: TRL switches between the one that trains and
    a copy of it, its reference. None where adapters are switched off."""
    if layer.disable_adapters:
        return None
    return next((name for name in layer.active_adapters if name in layer.lora_A), None)

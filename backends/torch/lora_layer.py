"""PEFT's layer with a forward pass of our own: the same numbers in fewer passes over memory."""

from __future__ import annotations

from typing import Any

from peft.tuners.lora.layer import Linear

from backends.torch.past import PastLinear
from backends.torch.products import adapted, low_rank

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
        a, b = self.lora_A[ADAPTER].weight, self.lora_B[ADAPTER].weight
        base, scale, drop = self.base_layer, self.scaling[ADAPTER], self.lora_dropout[ADAPTER]
        # Hooks that widen a layer's weight while it computes act on a call of the layer alone.
        if x.dtype != base.weight.dtype or (drop.training and getattr(drop, "p", 0.0)):
            return base(x) + low_rank(drop(x), a, b, scale)
        past = base.acting if isinstance(base, PastLinear) else None
        return adapted(x, base.weight, base.bias, past, (a, b), scale)

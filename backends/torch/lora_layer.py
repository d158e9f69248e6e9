"""PEFT's layer with a forward pass of our own: the same numbers in fewer passes over memory."""

from __future__ import annotations

from typing import Any

from peft.tuners.lora.layer import Linear
from torch.nn import functional

from backends.torch.past import PastLinear
from backends.torch.products import adapted

ADAPTER = "default"
"""The name that TRL and PEFT's own tools look for."""


class TrainedLinear(Linear):  # type: ignore[misc]
    """W x + b, plus the frozen past, plus scale B (A dropout(x)), where one adapter trains.

    In lower precision the factors are rounded on the way in, so that activations are never copied
    to float32; gradients and masters stay float32.
    """

    def forward(self, x: Any) -> Any:
        if self.disable_adapters:
            return self.base_layer(x)
        a, b = self.lora_A[ADAPTER].weight, self.lora_B[ADAPTER].weight
        scale, drop = self.scaling[ADAPTER], self.lora_dropout[ADAPTER]
        if drop.training and getattr(drop, "p", 0.0):
            low = functional.linear(drop(x), a.to(x.dtype))
            return self.base_layer(x) + functional.linear(low, (scale * b).to(x.dtype))
        base = self.base_layer
        past = base.acting if isinstance(base, PastLinear) else None
        return adapted(x, base.weight, base.bias, past, (a, b), scale)

"""DoRA in training: PEFT's layer and its magnitudes, over a frozen past that PEFT knows nothing of.

y = g (P x + z) + bias with z = scale B A x and g = m / the norms of the rows of P + scale B A, P
being the base weight with the past in it; the norms are constants to the gradient (Liu et al.
2024, 4.3). They are worked out without that sum: see `backends.torch.chain`.
"""

from __future__ import annotations

from typing import Any

import torch
from peft.tuners.lora.dora import DoraLinearLayer
from peft.tuners.lora.layer import Linear, LoraVariant
from torch import nn

from backends.torch.chain import norms, stretch
from backends.torch.lora_layer import acting, drops
from backends.torch.magnified import magnified
from backends.torch.past import chain_of, original_of, straight
from backends.torch.products import low_rank


class Magnitudes(LoraVariant):  # type: ignore[misc]
    """PEFT's own module for an adapter's magnitudes. Its values are given afterwards: PEFT would
    begin with the norms of the base weight alone, through a dense copy of it."""

    @staticmethod
    def init(module: Any, adapter_name: str, **_: Any) -> None:
        held = DoraLinearLayer(fan_in_fan_out=False)
        device = module.lora_A[adapter_name].weight.device
        held.weight = nn.Parameter(torch.ones(module.out_features, device=device))
        module.lora_magnitude_vector[adapter_name] = held


class TrainedDora(Linear):  # type: ignore[misc]
    """A linear layer, its frozen past, and a DoRA over both."""

    _below: tuple[Any, Any] | None = None
    _worked_out: tuple[Any, Any] | None = None

    def resolve_lora_variant(self, *, config: Any, **_: Any) -> Magnitudes:
        return Magnitudes()

    def forward(self, x: Any) -> Any:
        base, name = self.base_layer, acting(self)
        if name is None:
            return base(x)
        pair = self.lora_A[name].weight, self.lora_B[name].weight
        scale, drop = self.scaling[name], self.lora_dropout[name]
        g = stretch(self.lora_magnitude_vector[name].weight, self._norms(name))
        if not drops(drop):
            y = magnified(straight(base, x, pair, scale), g, base.bias)
            return chain_of(base).beside(y, x)
        # As PEFT has it: what is dropped is dropped from what the adapter adds to the base, not
        # from the base.
        dropped = drop(x)
        again = straight(base, dropped)
        if base.bias is not None:
            again = again - base.bias.to(again.dtype)
        z = low_rank(dropped, *pair, scale)
        return base(x) + magnified(again, g - 1.0) + magnified(z, g)

    def _norms(self, name: str) -> Any:
        """Float32 [out], of P + scale B A. Worked out anew in every step, and where nothing is
        differentiated whenever one of these has changed."""
        a, b = self.lora_A[name].weight, self.lora_B[name].weight
        scale, past = self.scaling[name], chain_of(self.base_layer)
        versions = [(held.data_ptr(), held._version) for held in (a, b)]
        key = (name, scale, past, versions)
        if torch.is_grad_enabled() or self._worked_out is None or self._worked_out[0] != key:
            with torch.no_grad():
                linear = original_of(self.base_layer)
                gained = past.gained(linear, a, scale * b)
                self._worked_out = key, norms(self._squares() + gained)
        return self._worked_out[1]

    def _squares(self) -> Any:
        """Of P alone, which changes when other adapters of the past are let act."""
        past = chain_of(self.base_layer)
        if self._below is None or self._below[0] is not past:
            self._below = past, past.squares(original_of(self.base_layer))
        return self._below[1]

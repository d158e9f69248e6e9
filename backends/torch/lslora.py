"""LS-LoRA in training: a custom LoRA module of PEFT's, with a spline for each adapter.

y = P x + bias + s_out phi(s_in z) with z = scale B A dropout(x), P being the base weight with the
past in it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from peft import LoraConfig
from peft.tuners.lora.layer import Linear, LoraVariant
from torch import nn

from backends import spline
from backends.contract import Spline
from backends.torch.lora_layer import acting
from backends.torch.products import low_rank
from backends.torch.spline import bent


@dataclass
class SplineConfig(LoraConfig):  # type: ignore[misc]
    """PEFT's settings of a LoRA, and the spline's."""

    spline: Spline | None = None


SPLINES = ("lora_spline_values", "lora_spline_scales")


class Held(nn.Module):  # type: ignore[misc]
    """A parameter under a name, as PEFT and TRL look for an adapter's: `NAME.ADAPTER.weight`."""

    def __init__(self, weight: Any) -> None:
        super().__init__()
        self.weight = nn.Parameter(weight)


class Splined(LoraVariant):  # type: ignore[misc]
    """Gives an adapter its values and scales, as float32 as the masters of its factors."""

    @staticmethod
    def init(module: Any, adapter_name: str, config: Any, **_: Any) -> None:
        if config.spline is None:
            raise ValueError("an LS-LoRA has a spline")
        device = module.lora_A[adapter_name].weight.device
        for name in SPLINES:
            if not hasattr(module, name):
                setattr(module, name, nn.ModuleDict())
        values = torch.tensor(spline.knots(config.spline), dtype=torch.float32, device=device)
        module.lora_spline_values[adapter_name] = Held(values)
        module.lora_spline_scales[adapter_name] = Held(torch.ones(2, device=device))
        module.spline = config.spline


class TrainedSpline(Linear):  # type: ignore[misc]
    """A linear layer, its frozen past, and an LS-LoRA beside both."""

    adapter_layer_names = (*Linear.adapter_layer_names, *SPLINES)
    spline: Spline

    def resolve_lora_variant(self, *, config: Any, **_: Any) -> Splined:
        return Splined()

    def forward(self, x: Any) -> Any:
        y, name = self.base_layer(x), acting(self)
        if name is None:
            return y
        pair = self.lora_A[name].weight, self.lora_B[name].weight
        z = low_rank(self.lora_dropout[name](x), *pair, self.scaling[name])
        values = self.lora_spline_values[name].weight
        return y + bent(z, values, self.lora_spline_scales[name].weight, self.spline)

"""What keeps LS-LoRA's splines near the identity."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from backends import lora, spline
from backends.contract import AdapterSpec


def penalty(spec: AdapterSpec, parameters: Mapping[str, Any], share: float) -> Any:
    """`share` of spline.penalty times the mean of (v - k)^2 over all layers and knots, a float32
    scalar in the graph; None for an adapter that has none."""
    if spec.spline is None or not spec.spline.penalty:
        return None
    values = torch.stack([parameters[lora.name_v(path)] for path in lora.paths_of(parameters)])
    knots = torch.from_numpy(spline.knots(spec.spline)).to(values)
    return share * spec.spline.penalty * (values - knots).square().mean()

"""What the splines of the adapter in training are given, counted while rows pass through."""

from __future__ import annotations

import contextlib
from functools import partial
from typing import Any

import numpy as np
import torch

from backends import lora, spline
from backends.contract import AdapterSpec, Batch, SplineInputs
from backends.torch.model import Opened
from backends.torch.passes import computing
from backends.torch.products import low_rank
from backends.torch.spline import bent
from backends.torch.trainable import Trainable


def metered(opened: Opened, training: Trainable | None, batch: Batch) -> dict[str, SplineInputs]:
    """By layer path; {} unless an adapter with a spline is in training. Call it without gradient
    and with dropout off."""
    if training is None or training.spec.spline is None:
        return {}
    device = opened.device
    places = np.arange(batch.ids.shape[1]) < batch.lengths[:, None]
    real = torch.from_numpy(places).to(device)
    held = training.parameters()
    meters = {path: _Meter(training.spec, path, held, real) for path in training.layers}
    with contextlib.ExitStack() as stack:
        for path, layer in training.layers.items():
            through = partial(meters[path].through, layer.forward)
            stack.enter_context(computing(layer, through))
        opened.hidden(torch.from_numpy(batch.ids).to(device, torch.int64))
    return {path: meter.read() for path, meter in meters.items()}


class _Meter:
    """Sums over what passes through one layer. `held`: tensors by contract name; `real`: bool
    [rows, width], where no padding is."""

    def __init__(self, spec: AdapterSpec, path: str, held: dict[str, Any], real: Any) -> None:
        self._spec, self._real = spec, real
        self._a, self._b = held[lora.name_a(path)], held[lora.name_b(path)]
        self._values, self._scales = held[lora.name_v(path)], held[lora.name_s(path)]
        self._seen = 0
        self._above: Any = 0
        self._squares: Any = 0.0
        self._products: Any = 0.0

    def through(self, forward: Any, x: Any) -> Any:
        """The layer's own output for x [rows, width, in], which is counted."""
        self._count(x[self._real])
        return forward(x)

    def _count(self, x: Any) -> None:
        own = self._spec.spline
        if own is None:
            raise ValueError("only an adapter with a spline is metered")
        z = low_rank(x, self._a, self._b, self._spec.scale).float()
        u = z * self._scales[0]
        self._seen += u.numel()
        self._above += torch.stack([(u > float(knot)).sum() for knot in spline.knots(own)])
        self._squares += z.square().sum()
        self._products += (z * bent(z, self._values, self._scales, own)).sum()

    def read(self) -> SplineInputs:
        return SplineInputs.counted(
            self._seen, self._above.tolist(), float(self._squares), float(self._products)
        )

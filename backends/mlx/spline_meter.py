"""What the splines of the adapter in training are given, counted while rows pass through."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping

import numpy as np

from backends import lora, spline
from backends.contract import AdapterSpec, Batch, SplineInputs
from backends.mlx.attached import Factors
from backends.mlx.chain import low_rank
from backends.mlx.framework import mx, nn, number
from backends.mlx.layer import replace
from backends.mlx.model import Decoder
from backends.mlx.spline import bent


def metered(
    decoder: Decoder, spec: AdapterSpec, held: Factors, batch: Batch
) -> dict[str, SplineInputs]:
    """By layer path; {} unless `spec` has a spline. `held`: the tensors in training by contract
    name. Call it with dropout off."""
    if spec.spline is None:
        return {}
    real = np.flatnonzero(np.arange(batch.ids.shape[1]) < batch.lengths[:, None])
    places = mx.array(real.astype(np.int32))
    meters = {path: _Meter(spec, path, held, places) for path in lora.paths_of(held)}
    with _placed(decoder, meters):
        ids = mx.array(batch.ids)
        mx.eval(decoder.hidden(ids, decoder.causal_masks(ids.shape[1])))
    return {path: meter.read() for path, meter in meters.items()}


class _Meter:
    """Sums over what passes through one layer. `places`: int32, the flat positions of real
    tokens."""

    def __init__(self, spec: AdapterSpec, path: str, held: Factors, places: mx.array) -> None:
        self._spec, self._places = spec, places
        self._a, self._b = held[lora.name_a(path)], held[lora.name_b(path)]
        self._values, self._scales = held[lora.name_v(path)], held[lora.name_s(path)]
        self._seen = 0
        self._above: list[int] = []
        self._squares = self._products = 0.0

    def count(self, x: mx.array) -> None:
        """Of x [rows, width, in], at once: what it takes is let go of before the next layer."""
        own = self._spec.spline
        if own is None:
            raise ValueError("only an adapter with a spline is metered")
        real = x.reshape(-1, x.shape[-1])[self._places]
        z = low_rank(real, self._a, self._spec.scale * self._b).astype(mx.float32)
        u = z * self._scales[0]
        above = mx.stack([(u > float(knot)).sum() for knot in spline.knots(own)])
        squares = mx.square(z).sum()
        products = (z * bent(z, self._values, self._scales, own)).sum()
        mx.eval(above, squares, products)
        counts = [int(count) for count in np.array(above)]
        before = self._above or [0] * len(counts)
        self._above = [one + more for one, more in zip(before, counts, strict=True)]
        self._seen += z.size
        self._squares += number(squares)
        self._products += number(products)

    def read(self) -> SplineInputs:
        return SplineInputs.counted(self._seen, self._above, self._squares, self._products)


class _Metered(nn.Module):  # type: ignore[misc]
    """A layer whose inputs are counted on the way in."""

    def __init__(self, layer: nn.Module, meter: _Meter) -> None:
        super().__init__()
        self.layer = layer
        self._meter = meter

    def __call__(self, x: mx.array) -> mx.array:
        self._meter.count(x)
        y: mx.array = self.layer(x)
        return y


@contextlib.contextmanager
def _placed(decoder: Decoder, meters: Mapping[str, _Meter]) -> Iterator[None]:
    """Inside, each layer that trains stands behind its meter."""
    modules = dict(decoder.net.named_modules())
    before = {path: modules[path] for path in meters}
    try:
        for path, meter in meters.items():
            replace(decoder.net, path, _Metered(before[path], meter))
        yield
    finally:
        for path, layer in before.items():
            replace(decoder.net, path, layer)

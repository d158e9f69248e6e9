"""What became of LS-LoRA's splines in a stage, layer by layer."""

from __future__ import annotations

from typing import Literal

from mindprint.report.scores import Frozen


class LayerSpline(Frozen):
    """phi of one layer as its stage left it. `values` v at the knots k, `scales` before and after
    phi; `moved`: mean |v - k|; `slope_variance`: of phi's slopes over its pieces. Shares of the
    inputs s_in z that rows of the stage gave it: `inner`, on the two pieces beside 0; `outside`
    the grid."""

    layer: str
    values: tuple[float, ...]
    scales: tuple[float, float]
    moved: float
    slope_variance: float
    inner: float
    outside: float


class SplinesRecord(Frozen):
    """The splines of a stage's adapter: their grid and kind, and every layer's. `rows` of the
    stage's data were put through the model for the shares."""

    low: float
    high: float
    interpolation: Literal["piecewise", "soft"]
    outside: Literal["linear", "clamp"]
    rows: int
    layers: tuple[LayerSpline, ...]

"""MLX, imported after the BLAS that is to serve it. The one place that imports it first."""

from __future__ import annotations

import os

from backends.mlx import blas

blas.load()
# MLX reads this once: where a GPU has TF32 its float32 products would keep 10 bits of 23.
os.environ.setdefault("MLX_ENABLE_TF32", "0")

from typing import cast  # noqa: E402

import mlx.core as mx  # noqa: E402
import mlx.nn as nn  # noqa: E402
from mlx.utils import tree_flatten, tree_unflatten  # noqa: E402

__all__ = ["mx", "nn", "number", "tree_flatten", "tree_unflatten"]


def number(x: mx.array) -> float:
    """The value of a real scalar."""
    return float(cast(float, x.item()))

"""How fast a backend's own library multiplies float matrices here: the limit of a training step.

`details.rates`: GFLOP/s by size, the best of several; the options name them as [m, k, n] lists.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np

from timing import work
from timing.protocol import Outcome, Spec, run

REPEATS, MOST = 3, 2.0
"""Tries of a size, fewer where they took so many seconds already."""
OFTEN, SHORT = 20, 0.1
"""Tries of a size that together take no more seconds than this."""


def side(spec: Spec) -> Outcome:
    """Raises KeyError for a backend without a library here."""
    make = {"torch": torch_product, "mlx": mlx_product}[spec.backend]
    began = time.perf_counter()
    rates = {}
    for m, k, n in spec.options["sizes"]:
        for form in ("x @ W.T", "x @ W"):
            seconds = best(make(spec, m, k, n, transposed=form.endswith("T")))
            rates[f"{form}: [{m}, {k}] x [{k}, {n}]"] = 2 * m * k * n / seconds / 1e9
    return Outcome(
        seconds=time.perf_counter() - began,
        rows=0,
        trained_tokens=0,
        loaded_rss=work.resident(),
        peak_rss=work.peak(),
        versions=work.versions(spec.backend),
        details={"rates": rates},
    )


def best(product: Callable[[], None]) -> float:
    """Seconds of the fastest of three, or of more where they are short, after one that is not
    counted."""
    product()
    found: list[float] = []
    while sum(found) < MOST and (
        len(found) < REPEATS or (len(found) < OFTEN and sum(found) < SHORT)
    ):
        began = time.perf_counter()
        product()
        found.append(time.perf_counter() - began)
    return min(found)


def drawn(m: int, k: int, n: int, *, transposed: bool) -> tuple[Any, Any]:
    rng = np.random.default_rng(0)
    shape = (n, k) if transposed else (k, n)
    return rng.random((m, k), dtype=np.float32), rng.random(shape, dtype=np.float32)


def torch_product(spec: Spec, m: int, k: int, n: int, *, transposed: bool) -> Callable[[], None]:
    import torch

    x, w = (
        torch.from_numpy(one).to(spec.device, getattr(torch, spec.dtype))
        for one in drawn(m, k, n, transposed=transposed)
    )

    def product() -> None:
        x @ (w.T if transposed else w)
        if spec.device == "cuda":
            torch.cuda.synchronize()

    return product


def mlx_product(spec: Spec, m: int, k: int, n: int, *, transposed: bool) -> Callable[[], None]:
    from backends.mlx.framework import mx

    mx.set_default_device(mx.cpu if spec.device == "cpu" else mx.gpu)
    x, w = (
        mx.array(one).astype(getattr(mx, spec.dtype))
        for one in drawn(m, k, n, transposed=transposed)
    )
    mx.eval(x, w)

    def product() -> None:
        mx.eval(x @ (w.T if transposed else w))

    return product


if __name__ == "__main__":
    run(side)

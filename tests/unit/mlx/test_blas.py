"""Which BLAS serves MLX's products: the order of imports decides, so fresh processes are asked."""

from __future__ import annotations

import platform
import subprocess
import sys

import numpy as np
import pytest

from backends.mlx import blas

linux = pytest.mark.skipif(platform.system() != "Linux", reason="elsewhere MLX has Accelerate")


def fresh(code: str) -> str:
    """Standard output of `code` in a new interpreter."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_importing_the_package_imports_no_framework() -> None:
    names = fresh(
        "import sys, backends.mlx, backends.mlx.blas;"
        "print([m for m in ('mlx', 'mlx.core', 'mlx_lm', 'torch', 'transformers', 'peft')"
        " if m in sys.modules])"
    )
    assert names == "[]"


def test_availability_imports_mlx_alone() -> None:
    told = fresh(
        "import sys; from backends.mlx import MlxBackend; found = MlxBackend().availability();"
        "print(found.ok, found.devices[-1], 'mlx.core' in sys.modules, 'torch' in sys.modules)"
    )
    assert told == "True cpu True False"


@linux
def test_a_better_blas_comes_before_mlx_without_importing_torch() -> None:
    told = fresh(
        "import ctypes, sys; from backends.mlx import blas; chosen = blas.load();"
        "early = 'mlx.core' in sys.modules or 'torch' in sys.modules;"
        "import backends.mlx.framework; assert blas.loaded() is chosen;"
        "print(chosen.name, early, hasattr(ctypes.CDLL(None), 'sgemm_'))"
    )
    name, early, reachable = told.rsplit(" ", 2)
    # Development machines have PyTorch, so one of the two is always found here.
    assert name in {blas.OPENBLAS, blas.TORCH}
    assert (early, reachable) == ("False", "True")


@linux
def test_too_late_is_said() -> None:
    told = fresh(
        "import mlx.core; from backends.mlx import blas; c = blas.load(); print(c.name, c.because)"
    )
    assert told.startswith("reference BLAS mlx.core was imported before")


@linux
def test_nothing_better_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    told = fresh(
        "from backends.mlx import blas; blas._opens = lambda name: False; c = blas.load();"
        "print(c.name, c.because)"
    )
    assert told.startswith("reference BLAS neither libopenblas.so.0 nor PyTorch is here")


def test_the_products_are_right() -> None:
    from backends.mlx.framework import mx

    rng = np.random.default_rng(0)
    a = rng.standard_normal((3, 65, 129)).astype(np.float32)
    b = rng.standard_normal((33, 129)).astype(np.float32)
    wanted = a.astype(np.float64) @ b.astype(np.float64).T
    # 129 products of numbers near 1, summed in float32.
    assert np.abs(np.array(mx.array(a) @ mx.array(b).T) - wanted).max() < 5e-5

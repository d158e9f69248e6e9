"""Which library serves MLX's matrix products on this machine.

The Linux wheel of MLX carries the reference BLAS (single thread, 5 to 8 GFLOP/s). A better
`sgemm_` that is in the global symbol scope before `mlx.core` is first imported is used instead (at
160 GFLOP/s with one thread of PyTorch's MKL), so the order of imports decides: every module of this
package imports MLX through `backends.mlx.framework`, which calls `load` first.
"""

from __future__ import annotations

import ctypes
import functools
import importlib.util
import os
import platform
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

from backends.contract import Choice

ACCELERATE = "Accelerate"
OPENBLAS = "libopenblas.so.0"
TORCH = "libtorch_cpu.so"


@functools.cache
def load() -> Choice:
    """Put the best BLAS found before MLX's own, once, and say which it is and why."""
    if platform.system() != "Linux":
        return Choice(ACCELERATE, because="MLX is built on it here", key="blas")
    if "mlx.core" in sys.modules:
        why = "mlx.core was imported before a better one could be put in its place"
        return Choice("reference BLAS", because=why, key="blas")
    if _opens(OPENBLAS):
        return Choice(OPENBLAS, because="the system has it; MLX's own is slow", key="blas")
    found = _torch_library()
    if found is not None and _opens(str(found)):
        why = f"no {OPENBLAS} here, PyTorch is installed, and MLX's own is slow"
        return Choice(TORCH, because=why, key="blas")
    why = f"neither {OPENBLAS} nor PyTorch is here: about 25 times slower (install libopenblas0)"
    return Choice("reference BLAS", because=why, key="blas")


def loaded() -> Choice:
    """What serves MLX's matrix products on the CPU, and why."""
    return load()


def version() -> str:
    """The library with what settles how it rounds: its version, and the kind of core it serves."""
    name = loaded().name
    if name == ACCELERATE:
        return f"{name} of macOS {platform.mac_ver()[0]}"
    if name == TORCH:
        return f"{name} {metadata.version('torch')}"
    found = _openblas() if name == OPENBLAS else None
    told = (found["version"], found.get("architecture")) if found else ()
    return " ".join([name, *(part for part in told if part)])


def threads() -> int:
    """How many threads that library uses for a product; the reference BLAS has one."""
    name = loaded().name
    if name == ACCELERATE:  # it tells nobody; this is what it goes by
        named = os.environ.get("VECLIB_MAXIMUM_THREADS", "")
        return int(named) if named.isdigit() and int(named) > 0 else os.cpu_count() or 1
    found = {OPENBLAS: _openblas, TORCH: _torch_threads}.get(name, lambda: None)()
    return int(found["num_threads"]) if found else 1


def _pools() -> list[dict[str, Any]]:
    from threadpoolctl import threadpool_info  # type: ignore[import-untyped]

    return list(threadpool_info())


def _openblas() -> dict[str, Any] | None:
    """The system's OpenBLAS, not the one that NumPy or SciPy brings along."""
    for pool in _pools():
        bundled = Path(pool["filepath"]).parent.name.endswith(".libs")
        if pool["internal_api"] == "openblas" and not bundled:
            return pool
    return None


def _torch_threads() -> dict[str, Any] | None:
    """The OpenMP library that PyTorch brings along (in `torch/lib` or `torch.libs`)."""
    for pool in _pools():
        folder = Path(pool["filepath"]).parent
        if folder.name == "torch.libs" or folder.parts[-2:] == ("torch", "lib"):
            return pool
    return None


def _opens(name: str) -> bool:
    try:
        ctypes.CDLL(name, mode=ctypes.RTLD_GLOBAL)
    except OSError:
        return False
    return True


def _torch_library() -> Path | None:
    """libtorch_cpu.so of an installed PyTorch, found without importing it."""
    spec = importlib.util.find_spec("torch")
    if spec is None or not spec.submodule_search_locations:
        return None
    library = Path(spec.submodule_search_locations[0]) / "lib" / TORCH
    return library if library.is_file() else None

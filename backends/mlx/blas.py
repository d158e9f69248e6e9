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
import platform
import sys
from pathlib import Path

from backends.contract import Choice

OPENBLAS = "libopenblas.so.0"
TORCH = "libtorch_cpu.so"


@functools.cache
def load() -> Choice:
    """Put the best BLAS found before MLX's own, once, and say which it is and why."""
    if platform.system() != "Linux":
        return Choice("Accelerate", because="MLX is built on it here", key="blas")
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

"""Which library serves PyTorch's matrix products on the CPU, and with how many threads."""

from __future__ import annotations

import re

import torch


def version() -> str:
    """The BLAS that PyTorch was built with and the kind of core it serves: what settles how it
    rounds, beside the number of threads."""
    built = torch.__config__.show()
    found = re.search(r"BLAS_INFO=(\w+)", built)
    mkl = re.search(r"Math Kernel Library Version (\d[\d.]*)", built)
    name = found[1] if found else "unknown"
    told = [name, mkl[1] if mkl and name == "mkl" else f"of PyTorch {torch.__version__}"]
    return f"{' '.join(told)}, {torch.backends.cpu.get_cpu_capability()}"


def threads() -> int:
    """How many threads share a product."""
    return int(torch.get_num_threads())

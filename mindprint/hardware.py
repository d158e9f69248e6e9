"""What the last digits of a product go by beside the code: the processor, the system's libraries,
the driver of a GPU, and what the environment tells the libraries that multiply."""

from __future__ import annotations

import os
import platform
import subprocess
from functools import lru_cache
from pathlib import Path

CPU_INFO = Path("/proc/cpuinfo")
GPU_DRIVER = Path("/proc/driver/nvidia/version")

KIND = (
    "vendor_id",
    "cpu family",
    "model",
    "model name",
    "stepping",
    "cache size",
    "flags",
    "Features",
    "CPU implementer",
    "CPU architecture",
    "CPU variant",
    "CPU part",
    "CPU revision",
)
"""Lines of /proc/cpuinfo, on x86 and ARM, by which libraries choose their kernels and block sizes;
a virtual machine may hide some of a chip's instructions under the same name."""

SWITCHES = (
    "ATEN_",
    "BLIS_",
    "CUBLAS",
    "CUDNN_",
    "DNNL_",
    "GLIBC_TUNABLES",
    "KMP_DETERMINISTIC_REDUCTION",
    "KMP_FORCE_REDUCTION",
    "LD_PRELOAD",
    "MKL_",
    "NVIDIA_TF32_OVERRIDE",
    "OMP_",
    "ONEDNN_",
    "OPENBLAS_",
    "VECLIB_",
)
"""How variables begin by which libraries choose kernels, precision, threads or the order of sums.
Too many cost a computation, one too few a wrong answer."""

OWN_SWITCHES = {"torch": ("PYTORCH_", "TORCH_"), "mlx": ("MLX_",)}


def processor() -> str:
    """The chip's name where the system tells it."""
    if CPU_INFO.is_file():
        names = [value for name, value in _told_of_cores() if name == "model name"]
        return names[0] if names else platform.machine()
    if platform.system() == "Darwin":
        command = ["/usr/sbin/sysctl", "-n", "machdep.cpu.brand_string"]
        told = subprocess.run(command, capture_output=True, text=True, check=False)
        return told.stdout.strip() or platform.machine()
    return platform.processor() or platform.machine()


@lru_cache
def computes_on() -> tuple[str, ...]:
    """This machine as far as its digits may differ from another's, the same for a process' life."""
    cores = sorted({f"{name}: {value}" for name, value in _told_of_cores() if name in KIND})
    driver = GPU_DRIVER.read_text("utf-8", errors="replace") if GPU_DRIVER.is_file() else ""
    libc = " ".join(platform.libc_ver())
    return processor(), platform.machine(), platform.mac_ver()[0], libc, driver, *cores


def switches(backend: str) -> dict[str, str]:
    """The environment's words to the libraries that compute for `backend`."""
    begins = (*SWITCHES, *OWN_SWITCHES.get(backend, ()))
    return {name: value for name, value in sorted(os.environ.items()) if name.startswith(begins)}


def _told_of_cores() -> list[tuple[str, str]]:
    """(name, value) of every line about a core; none where the system has no such file."""
    if not CPU_INFO.is_file():
        return []
    lines = CPU_INFO.read_text("utf-8", errors="replace").splitlines()
    parts = (line.partition(":") for line in lines)
    return [(name.strip(), value.strip()) for name, _, value in parts]

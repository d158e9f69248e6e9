"""Freed memory kept by the C library between steps, where MLX takes its arrays from it.

On a CPU MLX allocates with malloc. glibc gives large blocks and the end of its heap back to the
system as they are freed, so that every step maps and clears the same pages again: about 7 % of a
step's processor time.
"""

from __future__ import annotations

import ctypes
import functools
import platform

MMAP_THRESHOLD = 32 << 20
"""The most glibc takes: blocks below it come from the heap."""
TRIM_THRESHOLD = 1 << 30
"""What may lie free at the heap's end, more than a step of a small model leaves."""

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # malloc.h


@functools.cache
def keep() -> bool:
    """Ask once for the whole process. False where the C library is not glibc: nothing changes."""
    if platform.libc_ver()[0] != "glibc":
        return False
    library = ctypes.CDLL(None)
    asked = ((_M_MMAP_THRESHOLD, MMAP_THRESHOLD), (_M_TRIM_THRESHOLD, TRIM_THRESHOLD))
    return all([library.mallopt(option, size) == 1 for option, size in asked])

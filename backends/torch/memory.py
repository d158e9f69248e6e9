"""What memory is in use, and the framework's ways of saying that there is none left."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterator
from typing import Any

import torch

from backends import resident
from backends.contract import Memory
from backends.errors import OutOfMemory


def memory(device: Any) -> Memory:
    """Bytes of this process, and of the device as PyTorch counts them."""
    now = peak = 0
    if device.type == "cuda":
        now = torch.cuda.memory_allocated(device)
        peak = torch.cuda.max_memory_allocated(device)
    elif device.type == "mps":
        # MPS keeps no peak of its own; what the driver holds is the nearest.
        now, peak = torch.mps.current_allocated_memory(), torch.mps.driver_allocated_memory()
    return Memory(resident.resident(), resident.peak(), int(now), int(peak))


def release(device: Any) -> None:
    """Give freed memory back to the device."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
    elif device.type == "mps":
        torch.mps.empty_cache()


_SIGNS = (
    "can't allocate memory",  # the CPU allocator
    "not enough memory",  # the same on Windows
    "out of memory",  # CUDA below PyTorch's allocator, and MPS
    "status_alloc_failed",  # cuBLAS and cuDNN, for their workspaces
)


@contextlib.contextmanager
def out_of_memory(shape: tuple[int, ...], device: Any) -> Iterator[None]:
    """Turn the framework's out-of-memory errors into the contract's; `shape` is the batch's."""
    hint = "lower batch_size (and raise accumulate by as much), or shorten max_tokens"
    with room_for(f"{shape[0]} rows of {shape[1]} tokens", device, where="batch_size", hint=hint):
        yield


@contextlib.contextmanager
def room_for(what: str, device: Any, *, where: str = "", hint: str = "") -> Iterator[None]:
    """The same for anything else that takes memory."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not tells_of_memory(error):
            raise
        said = str(error).strip().splitlines()
        fault = OutOfMemory(
            f"{device.type} has no room for {what}" + (f": {said[0]}" if said else ""),
            where=where,
            hint=hint or "use a smaller model, a lower model.dtype or a smaller adapter",
        )
    else:
        return
    # Raised outside the handler: its traceback would keep the failed pass's tensors alive.
    release(device)
    raise fault


def tells_of_memory(error: BaseException) -> bool:
    """The CPU allocator, MPS and cuBLAS raise a plain RuntimeError."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return any(sign in str(error).lower() for sign in _SIGNS)

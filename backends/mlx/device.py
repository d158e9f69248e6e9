"""Where the arithmetic runs, in which precision, and how running out of room is recognised."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from backends.contract import Choice, ModelSpec
from backends.errors import BackendUnavailable, OutOfMemory
from backends.mlx import malloc
from backends.mlx.framework import mx

CACHE_BYTES = 2 << 30
"""Freed buffers kept for reuse on a GPU; without a bound, batches of many shapes keep one set
each. On a CPU none: the C library reuses them as well, and MLX kept 1.6 GB beside 0.4 in use."""

DTYPES = {"float32": mx.float32, "bfloat16": mx.bfloat16, "float16": mx.float16}


def gpu() -> str | None:
    """The kind of GPU MLX can use here."""
    if mx.metal.is_available():
        return "Metal"
    if mx.cuda.is_available():
        return "CUDA"
    return None


def choose_device(spec: ModelSpec) -> Choice:
    """`gpu` or `cpu`.

    Raises BackendUnavailable for a device that is not MLX's or not here.
    """
    found = gpu()
    if spec.device in {"cuda", "mps"}:
        raise BackendUnavailable(
            f"`{spec.device}` is not a device of MLX",
            where="--device",
            hint="use gpu, cpu or auto with MLX, or `--backend torch`",
        )
    if spec.device == "gpu" and found is None:
        raise BackendUnavailable(
            "MLX finds no GPU here", where="--device", hint="use `--device cpu` or `--device auto`"
        )
    if spec.device == "cpu" or found is None:
        because = "named" if spec.device == "cpu" else "MLX finds no Metal or CUDA device"
        return Choice("cpu", because=because, key="device")
    because = "named" if spec.device == "gpu" else f"{found} is available"
    return Choice("gpu", because=because, key="device")


def use(name: str) -> None:
    """Make `gpu` or `cpu` what MLX computes on. Both settings are the process's, so every session
    sets its own before it works."""
    mx.set_default_device(mx.gpu if name == "gpu" else mx.cpu)
    mx.set_cache_limit(CACHE_BYTES if name == "gpu" else 0)
    # On the CPU each fused kernel is built with g++ at run time: seconds per shape, for nothing.
    if name == "cpu":
        malloc.keep()
        mx.disable_compile()
    else:
        mx.enable_compile()


def choose_dtype(spec: ModelSpec, device: str) -> Choice:
    """The base weights' precision; adapters and optimizer are float32 everywhere."""
    key = "model.dtype"
    if spec.dtype != "auto":
        return Choice(spec.dtype, because="named", key=key)
    if device == "cpu":
        return Choice("float32", because="the device is the CPU", key=key)
    return Choice("bfloat16", because="the device is a GPU", key=key)


_OUT_OF_MEMORY = (
    "unable to allocate",
    "attempting to allocate",
    "out of memory",
    "outofmemory",
    "insufficient memory",
    "resource limit",
    "cudamalloc",
    "status_alloc_failed",
)


@contextlib.contextmanager
def room_for(what: str) -> Iterator[None]:
    """Raise OutOfMemory where MLX fails to allocate, which it says only in its message's text."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        text = str(error).lower()
        if not isinstance(error, MemoryError) and not any(sign in text for sign in _OUT_OF_MEMORY):
            raise
        mx.clear_cache()
        raise OutOfMemory(
            f"no room on the device for {what}",
            where=str(error).strip().splitlines()[0] if str(error).strip() else "",
            hint="use a smaller batch_size with a larger accumulate, or a smaller max_tokens",
        ) from error

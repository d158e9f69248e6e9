"""Device, dtype and attention: what was asked for, or what fits, with the reason."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

import torch

from backends.contract import Choice, ModelSpec
from backends.errors import BackendUnavailable, ModelError

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def device(spec: ModelSpec) -> Choice:
    """`auto` is CUDA or else the CPU; MPS is used only when named, or as the `gpu` there is.

    Raises BackendUnavailable for a device this machine lacks.
    """
    cuda, mps = torch.cuda.is_available(), torch.backends.mps.is_available()
    if spec.device == "auto":
        if cuda:
            return Choice("cuda", f"a CUDA device: {torch.cuda.get_device_name()}", "device")
        why = "no CUDA; MPS is used only when named" if mps else "no CUDA"
        return Choice("cpu", why, "device")
    if spec.device == "gpu":
        if not (cuda or mps):
            raise _no_device("gpu", "PyTorch sees neither CUDA nor MPS")
        return Choice("cuda" if cuda else "mps", "the GPU that PyTorch sees", "device")
    if spec.device == "cuda" and not cuda:
        raise _no_device("cuda", "PyTorch sees no CUDA device")
    if spec.device == "mps" and not mps:
        raise _no_device("mps", "PyTorch sees no Metal device")
    return Choice(spec.device, "named", "device")


def dtype(spec: ModelSpec, device_name: str) -> Choice:
    """`auto` is float32 on the CPU and MPS, bfloat16 on CUDA where the hardware has it."""
    key = "model.dtype"
    if spec.dtype != "auto":
        return Choice(spec.dtype, "named", key)
    if device_name != "cuda":
        return Choice("float32", f"exact and quick enough on {device_name}", key)
    if torch.cuda.is_bf16_supported(including_emulation=False):
        return Choice("bfloat16", "half the memory, and the range of float32", key)
    return Choice("float32", "this CUDA device has no bfloat16", key)


def attention(spec: ModelSpec, config: Any, device_name: str, dtype_name: str) -> Choice:
    """`auto` is sdpa, which honours causal, padding and sliding-window masks, unless the model
    caps its attention scores, which only eager does, or the device is MPS.

    Raises ModelError where what was named would compute something else.
    """
    key = "model.attention"
    capped = getattr(config, "attn_logit_softcapping", None) is not None
    if spec.attention == "auto":
        if capped:
            return Choice("eager", "this model caps attention scores, which sdpa leaves out", key)
        if device_name == "mps":
            # pytorch#167515: rows whose keys are all masked, as a left-padded batch's are.
            why = "PyTorch's fused attention is wrong on MPS for the masks of padded prompts"
            return Choice("eager", why, key)
        return Choice("sdpa", "PyTorch's fused attention, exact with sliding windows", key)
    if spec.attention == "sdpa" and capped:
        raise ModelError(
            "sdpa leaves out this model's cap on attention scores", where=key, hint="use eager"
        )
    if spec.attention == "flash_attention_2":
        if device_name != "cuda" or dtype_name == "float32":
            raise ModelError(
                f"flash_attention_2 needs CUDA in half precision, not {device_name} {dtype_name}",
                where=key,
                hint="use auto",
            )
        if find_spec("flash_attn") is None:
            raise ModelError(
                "flash_attention_2 needs the package flash-attn, which is not installed",
                where=key,
                hint="use auto",
            )
    return Choice(spec.attention, "named", key)


def _no_device(name: str, why: str) -> BackendUnavailable:
    return BackendUnavailable(f"no device `{name}`: {why}", where="--device", hint="use auto")

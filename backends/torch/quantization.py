"""Bases that bitsandbytes packs as they are opened, or has packed: what is asked of it."""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Iterator
from importlib import metadata
from typing import Any

import torch
from peft.tuners.lora import model as peft_lora
from torch import nn
from transformers import BitsAndBytesConfig

from backends.contract import Choice, ModelSpec
from backends.errors import BackendUnavailable, ModelError, reason
from backends.libraries import usable
from backends.packed_files import Packing
from backends.torch.packed import EightBitLinear, FourBitLinear, PackedLinear, freeze_packed

NEEDS = {"bitsandbytes": "0.50", "accelerate": "1.1"}
INSTALL = 'pip install "mindprint[quantized]"'
KEY = "model.quantization"
DEVICES = ("cuda", "cpu")
MARKS = (
    "hf_quantizer",
    "is_quantized",
    "quantization_method",
    "is_loaded_in_4bit",
    "is_loaded_in_8bit",
)
"""What transformers writes on a model that it packed, and what trainers look for: its layers are
PackedLinear by then, and are trained over as any others."""


def check(spec: ModelSpec, packing: Packing | None, device: str, where: str) -> None:
    """Before a weight is read. `packing`: how the model's files hold its weights.

    Raises ModelError where this model cannot be opened like that on this device, and
    BackendUnavailable where bitsandbytes is missing, too old or does not load.
    """
    if packing is not None:
        packing.check_library("bitsandbytes", "torch", where)
        packing.check_alone(spec.quantization, where)
    elif spec.quantization == "none":
        return
    if device not in DEVICES:
        raise ModelError(
            f"packed weights are opened on {' and '.join(DEVICES)}, not on {device}",
            where=KEY if packing is None else where,
            hint="use `--device cpu`, or `--backend mlx` on a Mac",
        )
    _check_library()


def _check_library() -> None:
    found = usable(NEEDS, INSTALL)
    if not found.ok:
        raise BackendUnavailable(
            f"packed weights need bitsandbytes: {found.reason}", where=KEY, hint=found.hint
        )
    try:
        # Asked for its version a package that is deferred becomes the real one, for transformers.
        told = importlib.import_module("bitsandbytes").__version__
        native = type(importlib.import_module("bitsandbytes.cextension").lib).__name__
    except (ImportError, OSError, RuntimeError, AttributeError) as error:
        what = f"bitsandbytes does not load here: {reason(error)}"
        raise BackendUnavailable(what, where=KEY, hint=f"{INSTALL} --force-reinstall") from error
    if native.startswith("ErrorHandler"):
        raise BackendUnavailable(
            f"bitsandbytes {told} has no library for this machine's PyTorch {torch.__version__}",
            where=KEY,
            hint="`python -m bitsandbytes` says why; without it use `model.quantization: none`",
        )


def settings(spec: ModelSpec, packing: Packing | None, dtype: Any, device: str) -> dict[str, Any]:
    """What `from_pretrained` is given beside the rest. Weights are packed one after another as they
    are read; the embedding and the head stay as they are, as transformers has it."""
    if packing is None and spec.quantization == "none":
        return {}
    given: dict[str, Any] = {"device_map": {"": device}}  # else a GPU that is there would be taken
    if packing is None:
        given["quantization_config"] = (
            BitsAndBytesConfig(
                load_in_4bit=True,
                bnb_4bit_quant_type="nf4",
                bnb_4bit_use_double_quant=True,
                bnb_4bit_compute_dtype=dtype,
            )
            if spec.quantization == "4bit"
            else BitsAndBytesConfig(load_in_8bit=True)
        )
    return given


def prepare(model: nn.Module) -> None:
    """What `prepare_model_for_kbit_training` is called for, of a model that transformers packed:
    no gradient to the base, and norms in float32. Done here, before anything is attached, and
    never again: later it would take the adapter's own gradients away.

    Raises ModelError when nothing was packed, or the output head was.
    """
    if not freeze_packed(model):
        raise ModelError("bitsandbytes packed no layer of this model", where=KEY)
    if isinstance(model.get_output_embeddings(), PackedLinear):
        raise ModelError(
            "the model's output head is packed, which this backend does not compute",
            where="quantization_config",
            hint="keep `lm_head` in `llm_int8_skip_modules`",
        )
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(False)
        if name.endswith("norm.weight"):
            parameter.data = parameter.data.float()
    for mark in MARKS:
        vars(model).pop(mark, None)
    vars(model.config).pop("quantization_config", None)


@contextlib.contextmanager
def unlooked_for() -> Iterator[None]:
    """Inside, PEFT does not look for layers of bitsandbytes': there are none, packed ones being
    PackedLinear, and it would import that, with PyTorch's compiler, in every process."""
    names = ("is_bnb_available", "is_bnb_4bit_available")
    held = {name: getattr(peft_lora, name) for name in names}
    for name in names:
        setattr(peft_lora, name, lambda: False)
    try:
        yield
    finally:
        for name, function in held.items():
            setattr(peft_lora, name, function)


def packed_layers(model: nn.Module) -> dict[str, PackedLinear]:
    """Layer path -> packed layer, in the model's order."""
    return {
        path: module for path, module in model.named_modules() if isinstance(module, PackedLinear)
    }


def numbers(model: nn.Module) -> int:
    """How many the model computes with, however they are packed."""
    packed = packed_layers(model)
    inside = {id(one) for layer in packed.values() for one in layer.parameters(recurse=False)}
    plain: int = sum(one.numel() for one in model.parameters() if id(one) not in inside)
    held: int = sum(one.out_features * one.in_features for one in packed.values())
    biases: int = sum(one.bias.numel() for one in packed.values() if one.bias is not None)
    return plain + held + biases


def told(model: nn.Module) -> str:
    """How the weights are packed, "none" where none is."""
    layer = next(iter(packed_layers(model).values()), None)
    if isinstance(layer, FourBitLinear):
        return f"{layer.kind} in blocks of {layer.block}"
    return "int8 by rows" if isinstance(layer, EightBitLinear) else "none"


def choice(spec: ModelSpec, packing: Packing | None, model: nn.Module) -> tuple[Choice, ...]:
    """What is to be said of it, nothing where nothing is packed."""
    kind = told(model)
    if kind == "none":
        return ()
    whose = f"bitsandbytes {metadata.version('bitsandbytes')}"
    because = f"named; {whose}" if packing is None else f"as the model's files hold it; {whose}"
    return (Choice(kind, f"{because}; embedding and head as they are", KEY),)

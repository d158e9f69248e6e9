"""PEFT's adapter folder, read and written without PEFT, so that both backends share the bytes."""

from __future__ import annotations

import json
from collections.abc import Collection
from pathlib import Path
from typing import Any, Literal

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save

from backends.contract import AdapterSpec, Params
from backends.errors import AdapterError
from backends.lora import leaf_targets

CONFIG = "adapter_config.json"
WEIGHTS = "adapter_model.safetensors"
PREFIX = "base_model.model."


def write(
    folder: Path, spec: AdapterSpec, tensors: Params, *, base: str, linears: Collection[str]
) -> None:
    """Write `tensors` (contract names) and `spec`. `base` names the model; equal input gives equal
    bytes, so one metadata key at most and no clock."""
    folder.mkdir(parents=True, exist_ok=True)
    stored = {
        f"{PREFIX}{name}.weight": np.ascontiguousarray(array, dtype=np.float32)
        for name, array in sorted(tensors.items())
    }
    chosen = sorted({name.rsplit(".", 1)[0] for name in tensors})
    config = {
        "base_model_name_or_path": base,
        "bias": "none",
        "fan_in_fan_out": False,
        "inference_mode": True,
        "init_lora_weights": True,
        "lora_alpha": int(spec.alpha) if float(spec.alpha).is_integer() else spec.alpha,
        "lora_dropout": spec.dropout,
        "modules_to_save": None,
        "peft_type": "LORA",
        "r": spec.rank,
        "target_modules": leaf_targets(chosen, linears),
        "task_type": "CAUSAL_LM",
        "use_dora": False,
        "use_rslora": spec.scaling == "rslora",
    }
    (folder / WEIGHTS).write_bytes(save(stored, metadata={"format": "pt"}))
    (folder / CONFIG).write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", "utf-8")


def read(folder: Path) -> tuple[AdapterSpec, Params]:
    """The spec and tensors (contract names) of a PEFT LoRA folder.

    Raises AdapterError for anything that would not be applied as it was trained.
    """
    config = _read_config(folder)
    _refuse_unknown(config, folder)
    try:
        stored = load_file(folder / WEIGHTS)
    except (OSError, SafetensorError) as error:
        raise AdapterError(
            f"cannot read the adapter: {error}", where=str(folder / WEIGHTS)
        ) from error
    scaling: Literal["standard", "rslora"] = "rslora" if config.get("use_rslora") else "standard"
    targets = config.get("target_modules") or ()
    spec = AdapterSpec(
        rank=int(config["r"]),
        alpha=float(config["lora_alpha"]),
        targets=tuple(sorted(targets)) if not isinstance(targets, str) else (targets,),
        scaling=scaling,
        dropout=float(config.get("lora_dropout", 0.0)),
    )
    return spec, _contract_names(stored, folder)


def check(spec: AdapterSpec, tensors: Params, shapes: dict[str, tuple[int, int]]) -> None:
    """Every tensor fits a layer: `shapes` maps layer path to (out, in). Gathers all faults."""
    faults = []
    paths = {name.rsplit(".", 1)[0] for name in tensors}
    for path in sorted(paths):
        if path not in shapes:
            faults.append(f"no layer `{path}`")
            continue
        out, inputs = shapes[path]
        for name, want in (
            (f"{path}.lora_A", (spec.rank, inputs)),
            (f"{path}.lora_B", (out, spec.rank)),
        ):
            got = tensors[name].shape if name in tensors else None
            if got != want:
                faults.append(f"`{name}` is {got}, the model needs {want}")
    if not tensors:
        faults.append("it holds no tensor")
    if faults:
        shown = "; ".join(faults[:5]) + (f"; and {len(faults) - 5} more" if len(faults) > 5 else "")
        raise AdapterError(
            f"the adapter does not fit this model: {shown}", hint="was it trained on another base?"
        )


def _read_config(folder: Path) -> dict[str, Any]:
    try:
        config = json.loads((folder / CONFIG).read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise AdapterError(
            f"cannot read the adapter: {error}", where=str(folder / CONFIG)
        ) from error
    if not isinstance(config, dict) or not {"r", "lora_alpha"} <= config.keys():
        raise AdapterError("not a PEFT LoRA configuration", where=str(folder / CONFIG))
    return config


def _refuse_unknown(config: dict[str, Any], folder: Path) -> None:
    where = str(folder / CONFIG)
    if config.get("peft_type") != "LORA":
        raise AdapterError(f"peft_type `{config.get('peft_type')}` is not LORA", where=where)
    for key in (
        "use_dora",
        "rank_pattern",
        "alpha_pattern",
        "modules_to_save",
        "fan_in_fan_out",
        "layer_replication",
        "alora_invocation_tokens",
        "target_parameters",
    ):
        if config.get(key):
            raise AdapterError(f"`{key}` is set, which mindprint does not apply", where=where)
    if config.get("bias", "none") != "none":
        raise AdapterError("the adapter trains biases, which mindprint does not apply", where=where)


def _contract_names(stored: dict[str, Any], folder: Path) -> Params:
    tensors: Params = {}
    for name, array in stored.items():
        kind = next((k for k in (".lora_A.weight", ".lora_B.weight") if name.endswith(k)), None)
        if kind is None or not name.startswith(PREFIX):
            raise AdapterError(f"unknown tensor `{name}`", where=str(folder / WEIGHTS))
        tensors[name[len(PREFIX) : -len(".weight")]] = np.asarray(array, dtype=np.float32)
    return tensors

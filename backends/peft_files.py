"""PEFT's adapter folder, read and written without PEFT, so that both backends share the bytes."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict, fields
from pathlib import Path
from reprlib import repr as short
from typing import Any, Literal, Protocol

import numpy as np
from safetensors.numpy import save

from backends import adapter_files
from backends.contract import AdapterSpec, Params, Spline
from backends.errors import AdapterError
from backends.json_files import json_of
from backends.lora import leaf_targets, name_a, name_b, paths_of, shapes
from backends.weight_files import Held

CONFIG = "adapter_config.json"
WEIGHTS = "adapter_model.safetensors"
PREFIX = "base_model.model."

LSLORA = "LSLORA"
"""The `peft_type` of LS-LoRA's folders, which PEFT refuses: it would read them as plain LoRA."""
KNOTS = 1001
"""More than any spline has: a stranger's number goes no further."""
_FACTORS = (name_a(""), name_b(""))

Sizes = Mapping[str, tuple[int, int]]
"""Layer path -> (out, in)."""


class Shaped(Protocol):
    """A tensor, or what the header of its file says of it."""

    @property
    def shape(self) -> tuple[int, ...]: ...


def write(
    folder: Path, spec: AdapterSpec, tensors: Params, *, base: str, linears: Collection[str]
) -> None:
    """Write `tensors` (contract names) and `spec`. `base` names the model; equal input gives equal
    bytes, so one metadata key at most and no clock."""
    folder.mkdir(parents=True, exist_ok=True)
    stored = {
        stored_name(name): np.ascontiguousarray(array, dtype=np.float32)
        for name, array in sorted(tensors.items())
    }
    chosen = sorted(paths_of(tensors))
    config = {
        "base_model_name_or_path": base,
        "bias": "none",
        "fan_in_fan_out": False,
        "inference_mode": True,
        "init_lora_weights": True,
        "lora_alpha": int(spec.alpha) if float(spec.alpha).is_integer() else spec.alpha,
        "lora_dropout": spec.dropout,
        "modules_to_save": None,
        "peft_type": "LORA" if spec.spline is None else LSLORA,
        "r": spec.rank,
        "target_modules": leaf_targets(chosen, linears),
        "task_type": "CAUSAL_LM",
        "use_dora": spec.kind == "dora",
        "use_rslora": spec.scaling == "rslora",
    }
    if spec.spline is not None:
        config["spline"] = asdict(spec.spline)
    (folder / WEIGHTS).write_bytes(save(stored, metadata={"format": "pt"}))
    (folder / CONFIG).write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", "utf-8")


def stored_name(name: str) -> str:
    """A contract name as PEFT's files have it: factors are layers with a weight, the others are
    arrays themselves."""
    return f"{PREFIX}{name}.weight" if name.endswith(_FACTORS) else f"{PREFIX}{name}"


def read(folder: Path, sizes: Sizes | None = None) -> tuple[AdapterSpec, Params]:
    """The spec and tensors (contract names) of an adapter's folder. `sizes`: those of the model's
    layers, which the tensors must fit before one of them is read.

    Raises AdapterError for anything that would not be applied as it was trained.
    """
    spec, held = header(folder)
    if sizes is not None:
        check(spec, held, sizes)
    stored = adapter_files.tensors(folder / WEIGHTS)
    return spec, {name: stored[own] for name, own in _contract_names(stored, spec, folder).items()}


def header(folder: Path) -> tuple[AdapterSpec, dict[str, Held]]:
    """As `read`, but what the file's header says of each tensor: none is read."""
    config = _read_config(folder)
    _refuse_unknown(config, folder)
    _refuse_pickles(folder)
    where = str(folder / CONFIG)
    spec = _spec(config, where)
    held = adapter_files.header(folder / WEIGHTS)
    adapter_files.check_rank(spec.rank, "r", held, where)
    adapter_files.check_scale(spec, where)
    return spec, {name: held[own] for name, own in _contract_names(held, spec, folder).items()}


def check(spec: AdapterSpec, tensors: Mapping[str, Shaped], sizes: Sizes) -> None:
    """Every tensor fits a layer. Raises AdapterError with all faults."""
    faults = []
    for path in sorted(paths_of(tensors)):
        if path not in sizes:
            faults.append(f"no layer `{path}`")
            continue
        for name, want in shapes(spec, path, *sizes[path]).items():
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
        config = json_of(folder / CONFIG)
    except (OSError, ValueError) as error:
        raise AdapterError(
            f"cannot read the adapter: {error}", where=str(folder / CONFIG)
        ) from error
    if not isinstance(config, dict) or not {"r", "lora_alpha"} <= config.keys():
        raise AdapterError("not a PEFT LoRA configuration", where=str(folder / CONFIG))
    return config


def _refuse_pickles(folder: Path) -> None:
    if (folder / WEIGHTS).is_file():
        return
    kinds = {".bin", ".pt", ".pth", ".ckpt"}
    pickles = sorted(file.name for file in folder.glob("adapter_model*") if file.suffix in kinds)
    if pickles:
        raise AdapterError(
            f"the adapter has no {WEIGHTS}; `{pickles[0]}` is a pickle, which can run code when "
            "read",
            where=str(folder),
            hint="save it with `save_pretrained(..., safe_serialization=True)`",
        )


_REFUSED = (
    "rank_pattern",
    "alpha_pattern",
    "modules_to_save",
    "fan_in_fan_out",
    "layer_replication",
    "alora_invocation_tokens",
    "target_parameters",
    "trainable_token_indices",
    "arrow_config",
    "kasa_config",
    "velora_config",
    "monteclora_config",
    "use_bdlora",
    "use_qalora",
    "lora_bias",
)
_INITS = (True, False, None, "gaussian", "eva", "orthogonal")
"""Initial values of the factors alone; all others change the base weights as well."""


def _refuse_unknown(config: dict[str, Any], folder: Path) -> None:
    where = str(folder / CONFIG)
    if config.get("peft_type") not in ("LORA", LSLORA):
        raise AdapterError(
            f"peft_type `{config.get('peft_type')}` is neither LORA nor {LSLORA}", where=where
        )
    for key in _REFUSED:
        if config.get(key):
            raise AdapterError(f"`{key}` is set, which mindprint does not apply", where=where)
    init = config.get("init_lora_weights", True)
    init = init.lower() if isinstance(init, str) else init
    if not any(init is known or (isinstance(init, str) and init == known) for known in _INITS):
        raise AdapterError(
            f"`init_lora_weights` is `{init}`, under which the base weights change too",
            where=where,
            hint="save it with PEFT's `path_initial_model_for_weight_conversion`",
        )
    if config.get("bias", "none") != "none":
        raise AdapterError("the adapter trains biases, which mindprint does not apply", where=where)


def _spec(config: dict[str, Any], where: str) -> AdapterSpec:
    scaling: Literal["standard", "rslora"] = "rslora" if config.get("use_rslora") else "standard"
    rank = config["r"]
    if not isinstance(rank, int) or isinstance(rank, bool) or rank < 1:
        raise AdapterError(f"`r` is {short(rank)}, not a rank of at least 1", where=where)
    dropout = _number(config, "lora_dropout", where)
    if not 0.0 <= dropout < 1.0:
        raise AdapterError(f"`lora_dropout` is {dropout:g}, not below 1", where=where)
    return AdapterSpec(
        rank=rank,
        alpha=_number(config, "lora_alpha", where),
        targets=_targets(config.get("target_modules"), where),
        scaling=scaling,
        dropout=dropout,
        kind=_kind(config, where),
        spline=_spline(config, where),
    )


def _kind(config: dict[str, Any], where: str) -> Literal["lora", "dora", "lslora"]:
    if config.get("peft_type") != LSLORA:
        return "dora" if config.get("use_dora") else "lora"
    if config.get("use_dora"):
        raise AdapterError(f"`use_dora` is set beside peft_type {LSLORA}", where=where)
    return "lslora"


def _spline(config: dict[str, Any], where: str) -> Spline | None:
    """Raises AdapterError for one that mindprint did not write."""
    if config.get("peft_type") != LSLORA:
        return None
    given = config.get("spline")
    known = {field.name: field for field in fields(Spline)}
    if not isinstance(given, dict) or given.keys() != known.keys():
        raise AdapterError(f"`spline` does not hold {', '.join(known)}", where=where)
    if given["interpolation"] not in ("piecewise", "soft") or given["outside"] not in (
        "linear",
        "clamp",
    ):
        raise AdapterError("its spline is of a kind that mindprint does not know", where=where)
    count = given["knots"]
    if not isinstance(count, int) or isinstance(count, bool) or count > KNOTS:
        raise AdapterError(f"`knots` is {short(count)}, not a number up to {KNOTS}", where=where)
    for key in ("low", "high", "penalty", "rate"):
        _number(given, key, where)
    try:
        return Spline(**given)
    except ValueError as error:
        raise AdapterError(f"its spline cannot be: {error}", where=where) from error


def _number(config: dict[str, Any], key: str, where: str) -> float:
    given = config.get(key, 0.0)
    value = adapter_files.finite(given)
    if value is None:
        raise AdapterError(f"`{key}` is {short(given)}, not a number", where=where)
    return value


def _targets(given: Any, where: str) -> tuple[str, ...]:
    """As PEFT allows them: names, or one name or pattern. The tensors say what is adapted."""
    named = [given] if isinstance(given, str) else [] if given is None else given
    if not isinstance(named, list) or not all(isinstance(name, str) for name in named):
        raise AdapterError(f"`target_modules` is {given!r}, not names of layers", where=where)
    return tuple(sorted(named))


def _contract_names(stored: Iterable[str], spec: AdapterSpec, folder: Path) -> dict[str, str]:
    """Contract name -> the file's own. Raises AdapterError for a tensor that is no such
    adapter's."""
    known = tuple(shapes(spec, "", 0, 0))
    names: dict[str, str] = {}
    for own in stored:
        name = own.removeprefix(PREFIX).removesuffix(".weight")
        if not name.endswith(known) or stored_name(name) != own:
            raise AdapterError(f"unknown tensor `{own}`", where=str(folder / WEIGHTS))
        names[name] = own
    return names

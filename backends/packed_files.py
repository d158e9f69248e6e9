"""Models whose files hold packed weights: who packed them, and what matrices they stand for."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path
from typing import Any, Literal

from backends.errors import FAULTS, ModelError, reason
from backends.model_files import own_names, read_config
from backends.weight_files import FLOATS, Held, headers, span

KEYS = ("quantization", "quantization_config")
"""Where a config says that its weights are packed, and how."""
OPENS = {"mlx-lm": "mlx", "bitsandbytes": "torch"}
CAST = (".scales", ".biases")
"""Ends of the names of what mlx-lm's packed weights come with."""
STATE = ".quant_state.bitsandbytes__"
"""Within the name of the tensor in which bitsandbytes notes a 4-bit weight's shape."""

Library = Literal["mlx-lm", "bitsandbytes"]


@dataclass(frozen=True)
class Packing:
    """`settings`: the library's own, as the config holds them."""

    library: Library
    settings: Mapping[str, Any]

    def check_library(self, own: Library, backend: str, where: str) -> None:
        """Raises ModelError unless `own`, which `backend` opens, packed it."""
        if self.library != own:
            raise ModelError(
                f"{self.library} packed the model's weights, which the {backend} backend does not "
                "open",
                where=where,
                hint=f"use `--backend {OPENS[self.library]}`, or open the unquantized model, with "
                "`model.quantization: 4bit` where it has to be small",
            )

    def check_alone(self, asked: str, where: str) -> None:
        """Raises ModelError where the settings ask to pack it once more."""
        if asked != "none":
            raise ModelError(
                f"the model's weights are packed already, and `model.quantization` is `{asked}`",
                where=f"model.quantization, {where}",
                hint="leave model.quantization out: the model opens as it is",
            )


def packing(config: Mapping[str, Any], where: str) -> Packing | None:
    """What a config says, None of a model that holds plain numbers. Raises ModelError for weights
    that neither backend opens."""
    found = [config[key] for key in KEYS if config.get(key)]
    if not found:
        return None
    for settings in found:
        if not isinstance(settings, dict):
            break
        if settings.get("quant_method") == "bitsandbytes":
            return Packing("bitsandbytes", settings)
        if "quant_method" not in settings and {"bits", "group_size"} <= settings.keys():
            return Packing("mlx-lm", settings)
    told = found[0].get("quant_method", "") if isinstance(found[0], dict) else ""
    by = f" by `{str(told)[:40]!r}`".replace("'", "") if told else ""
    raise ModelError(
        f"the model's weights are packed{by}, which neither backend opens",
        where=where,
        hint="open the unquantized model, with `model.quantization: 4bit` where it has to be small",
    )


@dataclass(frozen=True)
class Stored:
    """A weight as the files hold it. `shape` is that of the numbers it stands for; `packed`: bytes
    it takes with what unpacks it, 0 where it is plain numbers; `floats`: numbers beside those that
    MLX holds in its working precision; `name`: in the files."""

    shape: tuple[int, ...]
    dtype: str
    packed: int = 0
    floats: int = 0
    name: str = ""


def weights(folder: Path) -> dict[str, Stored]:
    """Tensor name -> what the files hold of it, by their headers; what belongs to a packed weight
    is counted with it, and of a vision-language model the text part alone. Raises ModelError."""
    held = _held(folder)
    names = own_names(folder, held)
    return {own: replace(held[name], name=name) for own, name in names.items() if name in held}


def _held(folder: Path) -> dict[str, Stored]:
    held = headers(folder)
    found = packing(read_config(folder), str(folder / "config.json"))
    if found is None:
        return {name: Stored(one.shape, one.dtype) for name, one in held.items()}
    packed = packed_parts(held)
    inside = {name for parts in packed.values() for name in parts}
    told = {name: Stored(one.shape, one.dtype) for name, one in held.items() if name not in inside}
    for path, parts in packed.items():
        weight = held[f"{path}.weight"]
        own = [held[name] for name in parts if name.endswith(CAST) and held[name].dtype in FLOATS]
        size = sum(_bytes(held[name]) for name in parts) - sum(map(_bytes, own))
        shape, floats = _shape(path, held, parts, found.settings), sum(prod(o.shape) for o in own)
        told[f"{path}.weight"] = Stored(shape, weight.dtype, size, floats)
    return told


def packed_parts(held: Mapping[str, Held]) -> dict[str, tuple[str, ...]]:
    """Layer path -> names of the tensors that its packed weight is made of, itself among them."""
    found: dict[str, tuple[str, ...]] = {}
    for name in held:
        path, _, leaf = name.rpartition(".")
        if leaf == "scales" and f"{path}.weight" in held:
            own = (f"{path}.{part}" for part in ("weight", "scales", "biases"))
        elif leaf == "SCB":
            own = (f"{path}.{part}" for part in ("weight", "SCB", "weight_format"))
        elif STATE in name:
            path = name.partition(STATE)[0].removesuffix(".weight")
            whole = f"{path}.weight"
            own = (one for one in held if one == whole or one.startswith(f"{whole}."))
        else:
            continue
        found[path] = tuple(one for one in own if one in held)
    return found


def _shape(
    path: str, held: Mapping[str, Held], parts: tuple[str, ...], settings: Mapping[str, Any]
) -> tuple[int, ...]:
    weight, scales = held[f"{path}.weight"], held.get(f"{path}.scales")
    state = next((name for name in parts if STATE in name), None)
    if state is not None:
        return _noted(held[state], state)
    if scales is None:
        return weight.shape
    own = settings.get(path)
    group = (own if isinstance(own, dict) else settings).get("group_size")
    if not isinstance(group, int) or len(scales.shape) != 2:
        what = f"the config does not tell how `{path}` was packed"
        raise ModelError(what, where=str(weight.file))
    return (scales.shape[0], scales.shape[1] * group)


def _noted(held: Held, name: str) -> tuple[int, ...]:
    start, end = span(held.file, name)
    try:
        with held.file.open("rb") as stream:
            stream.seek(start)
            noted = json.loads(stream.read(end - start))
        return tuple(int(size) for size in noted["shape"])
    except FAULTS as error:
        what = f"cannot read how `{name}` was packed: {reason(error)}"
        raise ModelError(what, where=str(held.file)) from error


def _bytes(held: Held) -> int:
    size = next((size for ends, size in _WIDTHS.items() if held.dtype.endswith(ends)), 1)
    return prod(held.shape) * size


_WIDTHS = {"64": 8, "32": 4, "16": 2}
"""How safetensors' names of dtypes end, and bytes of a number; of all others one."""
